//! Other ways to stand behind a proxy: a Unix socket, a path of a larger site, several daemons. What
//! is changed in the sample for each is told by docs/reverse-proxies.md.

use std::{fs, path::Path, time::Duration};

use testbed::{PATIENCE, bed::DOMAIN, eventually, free_port, http::try_get, tests};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Test,
    front::Front,
    paths,
    program::{Program, Upstream},
};

pub fn of(program: Program) -> Vec<Test> {
    let mut tests = tests![a_connection_that_idles_is_given_up_in_time, below_a_path];
    if program != Program::Traefik {
        tests.extend(tests![over_a_unix_socket]);
    }
    if matches!(program, Program::Haproxy | Program::Nginx) {
        tests.extend(tests![one_of_two_daemons_stops]);
    }
    tests
}

/// The daemon closes connections that idle for 30 seconds.
async fn a_connection_that_idles_is_given_up_in_time(program: Program) {
    let mut front = Front::new(program).await;
    // For HAProxy, which asks whether it is ready.
    let _daemon = front.bed.start().await;
    let stand_in = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stand_in.local_addr().unwrap().port();
    front.site.upstream = Upstream::Port(port);
    let (mut first, ()) = tokio::join!(serve_one(&stand_in), front.open());
    let closed = timeout(Duration::from_secs(25), first.read_u8()).await;
    if closed.is_ok_and(|read| read.is_err()) {
        return;
    }
    // Apache looks at its age only before it would use it again.
    let root = front.bed.url("/");
    let root = [root.as_str()];
    let second = timeout(PATIENCE, serve_one(&stand_in));
    let (answer, second) = tokio::join!(front.curl(&root, b""), second);
    second.expect("another connection");
    assert_eq!(answer.unwrap().status, 200);
}

/// Accepts a connection and answers one request on it.
async fn serve_one(listener: &TcpListener) -> TcpStream {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut request = [0; 4096];
    assert_ne!(connection.read(&mut request).await.unwrap(), 0);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    connection.write_all(answer).await.unwrap();
    connection
}

async fn over_a_unix_socket(program: Program) {
    let mut front = Front::new(program).await;
    let socket = front.bed.path("http.sock");
    let listen = format!("unix:{}", socket.display());
    front.bed.text("http.listen", &listen);
    front.bed.text("limits.client_guess_rate", "1/h, burst 1");
    front.site.upstream = Upstream::Socket(socket);
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let answer = front.post(&endpoint, b"a message").await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(front.bed.arrived().await.payload, b"a message");

    let guess = front.bed.url("/push/guess");
    for (from, status) in [("127.0.0.2", 404), ("127.0.0.2", 429), ("127.0.0.3", 404)] {
        let answer = front.post_with(&["--interface", from], &guess, b"x").await;
        assert_eq!(answer.unwrap().status, status, "{from}");
    }
}

async fn below_a_path(program: Program) {
    let mut front = Front::new(program).await;
    let (from, to) = below_up(program);
    // In a table a bar is escaped.
    let document = document().replace(r"\|", "|");
    for line in to.lines().map(str::trim) {
        // What the document has of a line that is there once more.
        let told = line
            .strip_prefix("ProxyPass \"/_")
            .and_then(|line| line.split_once(" retry"));
        let told = told.map_or(line.to_owned(), |(paths, _)| format!("`\"/_{paths}`"));
        assert!(document.contains(&told), "the document tells of {told}");
    }
    front.site.more.push((from, to));
    let url = format!("https://{DOMAIN}/up");
    front.bed.text("http.public_url", &url);
    let _daemon = front.bed.start().await;
    front.open().await;
    let endpoint = front.bed.register("app").await;
    let answer = front.post(&endpoint, b"a message").await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{url}/message/")));
    assert_eq!(front.bed.arrived().await.payload, b"a message");
    let gone = front.curl(&[location], b"").await.unwrap();
    assert_eq!(gone.body, "No such message is waiting.\n");
    // At the root all the same.
    paths::matrix(&mut front, &endpoint).await;
}

/// What the document says to change in the sample for the path `/up`.
pub fn below_up(program: Program) -> (&'static str, String) {
    let (from, to) = match program {
        Program::Apache => (
            r#"ProxyPass "/" "http://127.0.0.1:8080/""#,
            concat!(
                r#"ProxyPass "/_matrix/push/v1/notify" "http://127.0.0.1:8080/_matrix/push/v1/notify" retry=0"#,
                "\n    ",
                r#"ProxyPass "/up/" "http://127.0.0.1:8080/up/""#
            ),
        ),
        Program::Caddy => (
            "reverse_proxy 127",
            "@push path /up/* /_matrix/push/v1/notify\n\treverse_proxy @push 127",
        ),
        Program::Haproxy => (
            "use_backend unified_push",
            "use_backend unified_push if { path_beg /up/ } or { path /_matrix/push/v1/notify }",
        ),
        Program::Nginx => ("location / {", "location ~ ^/up/ {"),
        Program::Traefik => (
            "Host(`up.example.org`)",
            "Host(`up.example.org`) && (PathPrefix(`/up/`) || Path(`/_matrix/push/v1/notify`))",
        ),
    };
    (from, to.to_owned())
}

async fn one_of_two_daemons_stops(program: Program) {
    let mut front = Front::new(program).await;
    let (upstream, admin) = (free_port(), free_port());
    let (from, to) = match program {
        Program::Haproxy => (
            "# server two 10.0.0.2:8080 port 8081",
            format!("server two 127.0.0.1:{upstream} port {admin}"),
        ),
        _ => (
            "# server 10.0.0.2:8080",
            format!("server 127.0.0.1:{upstream}"),
        ),
    };
    front.site.more.push((from, to));
    let first = front.bed.start().await;
    let endpoint = front.bed.register("app").await;
    let state = front.bed.path("second");
    front.bed.text("state_dir", state.to_str().unwrap());
    front
        .bed
        .text("http.listen", &format!("127.0.0.1:{upstream}"));
    front
        .bed
        .text("admin.listen", &format!("127.0.0.1:{admin}"));
    // It waits for the link and takes pushes meanwhile.
    let second = front.bed.spawn(front.bed.command(&["serve"]));
    let ready = async || (try_get(&second.admin("/readyz")).await?.status == 200).then_some(());
    eventually("the second daemon is ready", PATIENCE, ready).await;
    front.open().await;

    let push = async |number: u32| {
        let text = number.to_string();
        let answer = front.post(&endpoint, text.as_bytes()).await;
        assert_eq!(answer.unwrap().status, 201, "{number}");
    };
    for number in 0..6 {
        push(number).await;
    }
    first.stop().await;
    // No push has to be sent again, from the first on.
    for number in 6..12 {
        push(number).await;
    }
    let mut arrived: Vec<u32> = Vec::new();
    for _ in 0..12 {
        let push = front.bed.arrived().await;
        arrived.push(String::from_utf8(push.payload).unwrap().parse().unwrap());
    }
    arrived.sort();
    assert_eq!(arrived, Vec::from_iter(0..12), "each arrives once");
}

fn document() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("docs/reverse-proxies.md")).unwrap()
}
