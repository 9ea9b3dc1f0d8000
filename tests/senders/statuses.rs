//! What each library makes of our statuses: what it tells the application server that calls it.

use testbed::{directory, free_port, tests};

use crate::{
    Test,
    front::Front,
    library::{Keys, Library, Sender},
};

/// Those that the daemon answers pushes with.
pub const ALL: [u16; 8] = [201, 400, 401, 404, 405, 413, 429, 503];

pub fn all() -> Vec<Test> {
    tests![each_status_is_told]
}

async fn each_status_is_told(library: Library) {
    let dir = directory("senders");
    let keys = Keys::new(dir.path());
    let ports = [free_port(), free_port()];
    let _front = Front::new(dir.path(), ports, free_port()).await;
    for status in ALL {
        let endpoint = format!("https://localhost:{}/status/{status}/push", ports[0]);
        let mut command = library.command(&keys, Sender::Registered, &endpoint, "hello");
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.trim(), library.tells(status), "{status}: {output:?}");
    }
}

/// The crate's names, some of which stand for several statuses.
pub fn rust_name(status: u16) -> &'static str {
    match status {
        400 => "bad_request",
        401 => "unauthorized",
        404 => "endpoint_not_found",
        413 => "payload_too_large",
        503 => "server_error",
        _ => "other",
    }
}
