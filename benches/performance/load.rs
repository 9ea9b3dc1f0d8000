//! Pushes over keep-alive connections, each sending its next one when the last is answered.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::measured::{Resident, cpu_seconds, machine_cpu_seconds, resident};

/// Requests, ready to be sent; connections take turns with them.
pub type Requests = Arc<[Vec<u8>]>;

#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Not measured.
    pub warm_up: Duration,
    pub window: Duration,
}

pub struct Measured {
    pub per_second: f64,
    pub per_cpu_second: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub resident: Resident,
    /// CPU seconds of the measured process for each push, and of the server beside it.
    pub cpu: f64,
    pub cpu_beside: f64,
    /// How many CPUs were busy with neither the measured processes nor with this one.
    pub others: f64,
}

/// `POST`s of a body of that size to each of the endpoints, as an application server sends them.
pub fn requests(endpoints: &[String], body: usize) -> Requests {
    let request = |endpoint: &String| {
        let (host, path) = endpoint
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\nttl: 86400\r\nurgency: high\r\n\
             content-encoding: aes128gcm\r\ncontent-length: {body}\r\n\r\n"
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + body, b'x');
        request
    };
    endpoints.iter().map(request).collect()
}

impl Load {
    /// Puts this load on a process that listens on `port`.
    pub async fn run(self, process: u32, port: u16, requests: &Requests) -> Measured {
        self.run_beside(process, None, port, requests).await
    }

    /// With another process whose CPU seconds count, too.
    pub async fn run_beside(
        self,
        process: u32,
        beside: Option<u32>,
        port: u16,
        requests: &Requests,
    ) -> Measured {
        let from = Instant::now() + self.warm_up;
        let until = from + self.window;
        let mut connections = JoinSet::new();
        for first in 0..self.connections {
            connections.spawn(connection(port, requests.clone(), first, from, until));
        }
        sleep_until(from).await;
        let start = Usage::now(process, beside);
        sleep_until(until).await;
        let used = Usage::now(process, beside).since(&start);
        let resident = resident(process);
        let mut latencies = Vec::new();
        while let Some(ended) = connections.join_next().await {
            latencies.extend(ended.unwrap().unwrap());
        }
        self.measured(latencies, used, resident)
    }

    /// `latencies` are in microseconds.
    pub fn measured(self, mut latencies: Vec<u32>, used: Usage, resident: Resident) -> Measured {
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            let latency = latencies.get(index).or(latencies.last());
            f64::from(*latency.unwrap()) / 1000.0
        };
        let answers = latencies.len() as f64;
        Measured {
            per_second: answers / self.window.as_secs_f64(),
            per_cpu_second: answers / used.process,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            resident,
            cpu: used.process / answers,
            cpu_beside: used.beside / answers,
            others: (used.machine - used.process - used.beside - used.own)
                / self.window.as_secs_f64(),
        }
    }
}

/// CPU seconds.
pub struct Usage {
    process: f64,
    beside: f64,
    own: f64,
    machine: f64,
}

impl Usage {
    pub fn now(process: u32, beside: Option<u32>) -> Self {
        Self {
            process: cpu_seconds(process),
            beside: beside.map_or(0.0, cpu_seconds),
            own: cpu_seconds(std::process::id()),
            machine: machine_cpu_seconds(),
        }
    }

    pub fn since(&self, start: &Self) -> Self {
        Self {
            process: self.process - start.process,
            beside: self.beside - start.beside,
            own: self.own - start.own,
            machine: self.machine - start.machine,
        }
    }
}

/// Returns the microseconds that each answer in the window took.
async fn connection(
    port: u16,
    requests: Requests,
    first: usize,
    from: Instant,
    until: Instant,
) -> io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    for request in requests.iter().cycle().skip(first % requests.len()) {
        let start = Instant::now();
        if start >= until {
            break;
        }
        exchange(&mut stream, request).await?;
        let end = Instant::now();
        if (from..until).contains(&end) {
            latencies.push((end - start).as_micros() as u32);
        }
    }
    Ok(latencies)
}

/// Sends a request and awaits its 201.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    created(stream).await
}

/// Reads one answer, which has no body.
async fn created(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 1024];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"\r\n\r\n") {
        match stream.read(&mut answer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    if answer.starts_with(b"HTTP/1.1 201 ") {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer[..filled]).into_owned();
    Err(io::Error::other(answer))
}
