//! Clients that take all they can, in a thread of their own.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use testbed::{Account, Component};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use unified_push::model::registration;

use crate::{
    load::Requests,
    phones::{attribute, tags},
};

/// How many connections store.
const STORING: usize = 1500;

#[derive(Clone, Copy, Debug)]
pub enum Stanza {
    Ping,
    Register,
}

#[derive(Clone, Copy, Debug)]
pub enum Flood {
    /// 200 headers that arrive a byte at a time, and 200 clients that ask and never read.
    Slow,
    /// 200 connections that guess endpoints, so many guesses at a time.
    Guesses(usize),
    /// 4 connections with 500 pushes at a time.
    Pipelines,
    /// 1,500 connections that push to one account's endpoints, for a second each.
    Storing,
    /// One account, as fast as the server takes it.
    Stanzas(Stanza),
}

/// A burst of them, each of another app.
pub fn stanzas(stanza: Stanza, to: &str) -> Vec<u8> {
    let one = |number: u8| match stanza {
        Stanza::Ping => {
            format!("<iq type='get' id='{number}' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>")
        }
        Stanza::Register => {
            let (digest, namespace) = (STANDARD.encode([number; 32]), registration::NS);
            format!(
                "<iq type='set' id='{number}' to='{to}'><register xmlns='{namespace}' \
                 application='{digest}' instance='{digest}'/></iq>"
            )
        }
    };
    let all: String = (0..200).map(one).collect();
    all.into_bytes()
}

/// A component that answers whatever it is asked.
pub async fn echo(port: u16, account: Account) {
    let component = Component::connect_to(port, &account).await.unwrap();
    let mut socket = component.into_socket();
    let (mut buffer, mut answers) = (Vec::with_capacity(64 << 10), String::new());
    // It ends with the server.
    while let Ok(1..) = socket.read_buf(&mut buffer).await {
        let used = tags(&buffer, |tag| {
            let [id, from, to] = ["id", "from", "to"].map(|name| attribute(tag, name));
            if let (true, Some(id), Some(from), Some(to)) = (tag.starts_with("<iq "), id, from, to)
            {
                answers += &format!("<iq type='result' id='{id}' from='{to}' to='{from}'/>");
            }
        });
        buffer.drain(..used);
        let _ = socket.write_all(answers.as_bytes()).await;
        answers.clear();
    }
}

/// In a thread of their own, until they are stopped.
pub struct Attackers {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Attackers {
    /// With what is spawned there.
    pub fn start(attack: impl FnOnce() + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                attack();
                token.cancelled().await;
            });
        });
        Self { stop, thread }
    }

    pub fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

/// Begins an attack of connections.
pub fn attack(flood: Flood, port: u16, pushes: &Requests) {
    match flood {
        Flood::Slow => {
            for _ in 0..200 {
                spawn(port, |mut stream| async move {
                    for byte in b"POST /push/x HTTP/1.1\r\nHost: x\r\nX: ".iter().cycle() {
                        stream.write_all(&[*byte]).await.ok()?;
                        sleep(Duration::from_millis(50)).await;
                    }
                    None
                });
                spawn(port, |mut stream| async move {
                    let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
                    loop {
                        stream.write_all(&ask).await.ok()?;
                    }
                });
            }
        }
        Flood::Guesses(pipelined) => {
            let guess = b"POST /push/made-up HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
            for _ in 0..200 {
                let guesses = guess.repeat(pipelined);
                spawn(port, |stream| repeat(stream, guesses));
            }
        }
        Flood::Pipelines => {
            for _ in 0..4 {
                let pushes = pushes[0].repeat(500);
                spawn(port, |stream| repeat(stream, pushes));
            }
        }
        Flood::Storing => {
            for number in 0..STORING {
                let push = &pushes[number % pushes.len()];
                let push = String::from_utf8_lossy(push).replace("ttl: 86400", "ttl: 1");
                spawn(port, |stream| one_by_one(stream, push.into_bytes()));
            }
        }
        Flood::Stanzas(_) => unreachable!("they come through the server"),
    }
}

/// One attacker, who connects again whenever it is thrown out.
fn spawn<F: Future<Output = Option<()>> + 'static + Send>(
    port: u16,
    attack: impl FnOnce(TcpStream) -> F + Clone + Send + 'static,
) {
    tokio::spawn(async move {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => drop(attack.clone()(stream).await),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    });
}

/// Sends the next one when the last was answered, whatever the answer.
async fn one_by_one(mut stream: TcpStream, request: Vec<u8>) -> Option<()> {
    let mut answer = [0; 2048];
    loop {
        stream.write_all(&request).await.ok()?;
        if stream.read(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends again and again, and reads whatever comes.
pub async fn repeat(stream: TcpStream, requests: Vec<u8>) -> Option<()> {
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        loop {
            write.write_all(&requests).await.ok()?;
        }
    };
    let reading = async {
        let mut answers = vec![0; 1 << 16];
        while read.read(&mut answers).await.ok()? > 0 {}
        None
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}
