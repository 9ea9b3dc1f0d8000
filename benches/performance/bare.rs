//! What a push can cost at the least with axum: its body is read, the answer is 201, at once or late.

use std::{env, process::Command, time::Duration};

use axum::{Router, body::Bytes, http::StatusCode, routing::post, serve::ListenerExt};
use tempfile::TempDir;
use testbed::{PATIENCE, Process, eventually, free_port};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    time::sleep,
};

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

/// Such a process.
pub struct Bare {
    pub process: Process,
    pub port: u16,
    _dir: TempDir,
}

impl Bare {
    pub async fn start(late: Duration) -> Self {
        Self::under(&[], late).await
    }

    /// Run by another command.
    pub async fn under(wrapper: &[String], late: Duration) -> Self {
        let (port, late) = (free_port(), late.as_millis());
        let dir = tempfile::tempdir().unwrap();
        let own = env::current_exe().unwrap();
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([own.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command.args(["bare", &port.to_string(), &late.to_string()]);
        let process = Process::start(&mut command, &dir.path().join("log")).unwrap();
        eventually("the bare handler listens", PATIENCE, async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self {
            process,
            port,
            _dir: dir,
        }
    }
}
