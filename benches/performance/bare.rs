//! What a push can cost at the least with axum: its body is read, the answer is 201, at once or late.

use std::{env, process::Command, time::Duration};

use axum::{Router, body::Bytes, http::StatusCode, routing::post, serve::ListenerExt};
use tokio::{net::TcpListener, runtime, time::sleep};

use crate::{measured::Process, process::free_port};

/// Runs in a process of its own, with the runtime that the daemon has.
pub fn serve(port: u16, late: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let handler = match late.is_zero() {
            true => post(async |_: Bytes| StatusCode::CREATED),
            false => post(async move |_: Bytes| {
                sleep(late).await;
                StatusCode::CREATED
            }),
        };
        let router = Router::new().route("/push/{token}", handler);
        axum::serve(listener, router).await.unwrap();
    });
}

/// Starts such a process. Returns its port, too.
pub async fn start(late: Duration) -> (Process, u16) {
    let (port, late) = (free_port(), late.as_millis());
    let mut command = Command::new(env::current_exe().unwrap());
    let process = Process::start(command.args(["bare", &port.to_string(), &late.to_string()]));
    process.listening(port).await;
    (process, port)
}
