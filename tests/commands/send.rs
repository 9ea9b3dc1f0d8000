//! `send`: what the answer means, in words, and never the endpoint.

use std::{fs, process::Command};

use testbed::{Bed, Behaviour, Missing, bed::Ended, free_port, webpush::App};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Whatever is said about it, the endpoint itself is a secret.
fn without(endpoint: &str, ended: Ended) -> Ended {
    let token = endpoint.rsplit('/').next().unwrap();
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.contains(token), "{token} in {said}");
    ended
}

#[tokio::test]
async fn the_answer_is_told_in_words() {
    let mut bed = Bed::new().await;
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let send = async |more: &[&str]| {
        let arguments = [&["send", &endpoint], more].concat();
        without(&endpoint, bed.run(&arguments).await)
    };

    let accepted = send(&["hello", "--topic", "news", "--urgency", "high"]).await;
    assert_eq!(accepted.stdout, "201: accepted: the phone has it\n");
    assert_eq!(accepted.code, Some(0), "{accepted:?}");

    for (option, value, header) in [
        ("--topic", "no spaces", "Topic"),
        ("--urgency", "loud", "Urgency"),
    ] {
        let said = send(&["hello", option, value]).await.with(1);
        assert!(said.starts_with("400: "), "{said}");
        assert!(
            said.contains(&format!("the server says: {header}")),
            "{said}"
        );
    }

    bed.phone.behave(Behaviour::OFFLINE);
    let said = send(&["hello", "--ttl", "0"]).await.with(1);
    assert!(
        said.starts_with("503: not accepted at the moment"),
        "{said}"
    );
    assert!(said.contains("try again after 60 s"), "{said}");

    bed.phone.behave(Behaviour::Silent);
    let said = send(&["hello", "--ttl", "0"]).await.with(0);
    assert!(said.starts_with("201: sent to the phone"), "{said}");
    let said = send(&["hello", "--ttl", "600"]).await.with(0);
    let kept = "201: kept for up to 600 s; the phone gets it when it is back\n";
    assert_eq!(said, kept);
    assert_eq!(bed.arrived().await.payload, b"hello");
}

#[tokio::test]
async fn the_message_comes_from_standard_input_when_it_is_left_out() {
    let mut bed = Bed::new().await;
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let bytes: Vec<u8> = (0..4096).map(|n| (n % 251) as u8).collect();
    let sent = bed
        .run_with(bed.command(&["send", &endpoint]), &bytes)
        .await;
    sent.with(0);
    assert_eq!(bed.arrived().await.payload, bytes);

    let large = bed.run_with(bed.command(&["send", &endpoint]), &[b'x'; 4097]);
    let said = large.await.with(1);
    let expected = "413: the message is larger than 4096 bytes\n\
                    the server says: The body is larger than 4096 bytes.\n";
    assert_eq!(said, expected);

    let said = bed.run(&["send", &endpoint]).await.with(1);
    assert!(
        said.contains("the server says: The body is empty."),
        "{said}"
    );
}

#[tokio::test]
async fn what_gets_no_201_fails_with_a_hint() {
    let bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let dead = format!("{endpoint}x");
    let said = without(&dead, bed.run(&["send", &dead, "hello"]).await).with(1);
    assert!(said.starts_with("404: this endpoint is unknown"), "{said}");

    daemon.stop().await;
    let nobody = format!("http://127.0.0.1:{}/push/t0ken", free_port());
    let unresolved = "http://no-such-host.invalid/push/t0ken";
    for unreachable in [endpoint.as_str(), nobody.as_str(), unresolved] {
        let said = without(unreachable, bed.run(&["send", unreachable, "hello"]).await).with(1);
        assert!(said.starts_with("unified-push: no answer: "), "{said}");
        assert!(said.contains("that the daemon is running"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_endpoint_is_not_echoed() {
    let bed = Bed::new().await;
    for wrong in [
        "t0ken",
        "ftp://127.0.0.1/push/t0ken",
        "http:///t0ken",
        "http://[/t0ken",
    ] {
        let said = without(wrong, bed.run(&["send", wrong, "hello"]).await).with(1);
        assert!(said.starts_with("unified-push: the endpoint "), "{said}");
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named() {
    let bed = Bed::new().await;
    let endpoint = "http://127.0.0.1:1/push/t0ken";
    for option in ["--topic", "--urgency"] {
        let said = bed
            .run(&["send", endpoint, "hello", option, "a\nb"])
            .await
            .with(2);
        assert!(said.contains(option), "{said}");
    }
}

/// The key pair of RFC 8291, appendix A.
const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

#[tokio::test]
async fn an_encrypted_push_is_read_by_the_app_alone() {
    let mut bed = Bed::new().await;
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    let file = bed.path("subscription.json");
    fs::write(&file, app.subscription(&endpoint)).unwrap();
    let file = file.to_str().unwrap();

    let keys = [
        "send", &endpoint, "one", "--p256dh", &p256dh, "--auth", &auth,
    ];
    assert_eq!(
        without(&endpoint, bed.run(&keys).await).with(0),
        "201: accepted: the phone has it\n"
    );
    let push = bed.arrived().await;
    assert!(!push.payload.windows(3).any(|part| part == b"one"));
    assert_eq!(app.decrypt(&push.payload), b"one");

    let signed = [
        "send",
        "--subscription",
        file,
        "two",
        "--vapid-key",
        PRIVATE,
    ];
    without(&endpoint, bed.run(&signed).await).with(0);
    assert_eq!(app.decrypt(&bed.arrived().await.payload), b"two");

    let from_input = bed.command(&["send", "--subscription", "-", "three"]);
    let subscription = app.subscription(&endpoint);
    bed.run_with(from_input, subscription.as_bytes())
        .await
        .with(0);
    assert_eq!(app.decrypt(&bed.arrived().await.payload), b"three");

    // The phone is away, and gets what was kept.
    bed.phone.behave(Behaviour::OFFLINE);
    let longest = [b'x'; 4096 - 103];
    let command = bed.command(&["send", "--subscription", file]);
    let said = bed.run_with(command, &longest).await.with(0);
    assert!(said.starts_with("201: kept for up to 86400 s"), "{said}");
    bed.arrived().await;
    bed.phone.behave(Behaviour::default());
    bed.phone.announce();
    assert_eq!(app.decrypt(&bed.arrived().await.payload), longest);

    let command = bed.command(&["send", "--subscription", file]);
    let said = bed.run_with(command, &[b'x'; 4096 - 102]).await.with(1);
    assert!(said.contains("leave it at 3993"), "{said}");
}

#[tokio::test]
async fn a_key_that_openssl_makes_signs() {
    const OPENSSL: &str = "/usr/bin/openssl";
    if let Some(missing) = Missing::of(&[OPENSSL]) {
        return missing.leave_out();
    }
    let mut bed = Bed::new().await;
    let _daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    let file = bed.path("private.pem");
    let made = Command::new(OPENSSL)
        .args("ecparam -name prime256v1 -genkey -noout -out".split(' '))
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    let file = file.to_str().unwrap();
    let signed = ["send", &endpoint, "hello", "--vapid-key", file];
    without(&endpoint, bed.run(&signed).await).with(0);
    assert_eq!(bed.arrived().await.payload, b"hello");
}

#[tokio::test]
async fn a_bad_key_is_named_and_not_shown() {
    let bed = Bed::new().await;
    let endpoint = "http://127.0.0.1:1/push/t0ken";
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    let [bad_p256dh, bad_auth, bad_key] = [&p256dh[1..], &auth[1..], &PRIVATE[1..]];
    let json = bed.path("subscription.json");
    fs::write(&json, app.subscription("t0ken").replace(&auth, bad_auth)).unwrap();
    let [json, none] = [json, bed.path("none")].map(|path| path.to_str().unwrap().to_owned());
    for (arguments, said) in [
        (
            ["--p256dh", bad_p256dh, "--auth", &auth],
            "unified-push: --p256dh is not a public key",
        ),
        (
            ["--p256dh", &p256dh, "--auth", bad_auth],
            "unified-push: --auth is not a secret of 16 bytes",
        ),
        (
            ["--vapid-key", bad_key, "--urgency", "low"],
            "unified-push: --vapid-key is neither a private key of 43 characters nor the name of a file",
        ),
        (
            ["--vapid-key", &json, "--urgency", "low"],
            "unified-push: --vapid-key: the file holds no private key",
        ),
    ] {
        let ended = bed
            .run(&[&["send", endpoint, "hello"], &arguments[..]].concat())
            .await;
        let found = without(endpoint, ended).with(1);
        assert!(found.starts_with(said), "{found}");
        for secret in [bad_p256dh, bad_auth, bad_key] {
            assert!(!found.contains(secret), "{found}");
        }
    }
    for (file, said) in [
        (
            &*json,
            "unified-push: --subscription: auth is not a secret of 16 bytes",
        ),
        (&*none, "unified-push: --subscription: cannot read "),
    ] {
        let found = bed.run(&["send", "--subscription", file, "hello"]).await;
        let found = found.with(1);
        assert!(
            found.starts_with(said) && !found.contains(bad_auth),
            "{found}"
        );
    }
    // Half of what is needed, and more than can be meant.
    for (arguments, code, said) in [
        (
            &["send", endpoint, "x", "--p256dh", &p256dh][..],
            2,
            "--auth <SECRET>",
        ),
        (&["send"], 2, "<ENDPOINT>"),
        (
            &["send", endpoint, "x", "--subscription", &none],
            1,
            "leave the endpoint out",
        ),
        (
            &["send", "--subscription", "-"],
            1,
            "give the message as an argument",
        ),
    ] {
        let found = bed.run(arguments).await.with(code);
        assert!(found.contains(said), "{found}");
    }
}

/// Answers each of so many requests in the same way, and gives what was asked.
async fn stranger(answer: &'static str, requests: usize) -> (String, impl Future<Output = String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/push/t0ken", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut asked = String::new();
        for _ in 0..requests {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            asked += &String::from_utf8_lossy(&request[..length]);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (endpoint, async { served.await.unwrap() })
}

#[tokio::test]
async fn what_other_push_servers_answer_is_told_and_cannot_steer_the_terminal() {
    let bed = Bed::new().await;
    for (answer, code, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            0,
            "200: accepted; ntfy answers so, and keeps the message for some hours\n",
        ),
        (
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            0,
            "202: accepted and kept; Mozilla's push server and gateways answer so, and the phone gets \
             it when it is back\n",
        ),
        (
            "HTTP/1.1 410 Gone\r\nContent-Length: 15\r\n\r\n\x1b[2Jno t0ken\n\n\n",
            1,
            "410: this endpoint is unknown, expired or revoked: let the app register again\n\
             the server says: \\u{1b}[2Jno …\n",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/other\r\nContent-Length: 0\r\n\r\n",
            1,
            "302: a redirect, which push senders do not follow: fix the reverse proxy\n",
        ),
        (
            "HTTP/1.1 201 Created\r\nLocation: http://localhost:1/m\r\nContent-Length: 0\r\n\r\n",
            0,
            "201: accepted: the phone has it, or gets it when it is back\n",
        ),
    ] {
        let (endpoint, asked) = stranger(answer, 1).await;
        let ended = bed
            .run(&["send", &endpoint, "hello", "--vapid-key", PRIVATE])
            .await;
        assert_eq!(without(&endpoint, ended).with(code), expected);
        let asked = asked.await;
        assert!(asked.starts_with("POST /push/t0ken "), "{asked}");
        assert!(asked.contains("authorization: vapid t=ey"), "{asked}");
    }
}
