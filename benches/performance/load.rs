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
    /// Of all answers, the share that were 503.
    pub refused: f64,
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
        let measured = self.run_refused(process, beside, port, requests).await;
        assert!(measured.refused == 0.0, "some answers were 503");
        measured
    }

    /// Where some may be refused.
    pub async fn run_refused(
        self,
        process: u32,
        beside: Option<u32>,
        port: u16,
        requests: &Requests,
    ) -> Measured {
        let from = Instant::now() + self.warm_up;
        let until = from + self.window;
        let mut connections = JoinSet::new();
        // Far from each other: what one has pushed to is not what the next one pushes to.
        let apart = (requests.len() / self.connections).max(1);
        for number in 0..self.connections {
            let first = number * apart;
            connections.spawn(connection(port, requests.clone(), first, from, until));
        }
        sleep_until(from).await;
        let start = Usage::now(process, beside);
        sleep_until(until).await;
        let used = Usage::now(process, beside).since(&start);
        let resident = resident(process);
        let (mut latencies, mut refused) = (Vec::new(), 0.0);
        while let Some(ended) = connections.join_next().await {
            let (answered, more) = ended.unwrap().unwrap();
            latencies.extend(answered);
            refused += f64::from(more);
        }
        Measured {
            refused: refused / (refused + latencies.len() as f64),
            ..self.measured(latencies, used, resident)
        }
    }

    /// `latencies` are in microseconds.
    pub fn measured(self, mut latencies: Vec<u32>, used: Usage, resident: Resident) -> Measured {
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            let latency = latencies.get(index).or(latencies.last());
            // Of those that get no 201 at all, there is none.
            latency.map_or(f64::NAN, |latency| f64::from(*latency)) / 1000.0
        };
        let answers = latencies.len() as f64;
        Measured {
            per_second: answers / self.window.as_secs_f64(),
            refused: 0.0,
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

/// Returns the microseconds that each 201 in the window took, and how many answers were 503.
async fn connection(
    port: u16,
    requests: Requests,
    first: usize,
    from: Instant,
    until: Instant,
) -> io::Result<(Vec<u32>, u32)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for request in requests.iter().cycle().skip(first % requests.len()) {
        let start = Instant::now();
        if start >= until {
            break;
        }
        let created = try_exchange(&mut stream, request).await?;
        let end = Instant::now();
        if (from..until).contains(&end) {
            match created {
                true => latencies.push((end - start).as_micros() as u32),
                false => refused += 1,
            }
        }
    }
    Ok((latencies, refused))
}

/// Sends a request and awaits its 201.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    match try_exchange(stream, request).await? {
        true => Ok(()),
        false => Err(io::Error::other("503")),
    }
}

const CREATED: &[u8] = b"HTTP/1.1 201 ";

/// Sends a request and awaits its 201, or a 503: then it is false.
pub async fn try_exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<bool> {
    stream.write_all(request).await?;
    let mut answer = [0; 2048];
    let mut filled = 0;
    while !is_whole(&answer[..filled]) {
        match stream.read(&mut answer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    match &answer[..filled] {
        created if created.starts_with(CREATED) => Ok(true),
        refused if refused.starts_with(b"HTTP/1.1 503 ") => Ok(false),
        other => Err(io::Error::other(
            String::from_utf8_lossy(other).into_owned(),
        )),
    }
}

/// Whether head and body of an answer are there; a 201 has no body.
fn is_whole(answer: &[u8]) -> bool {
    if answer.ends_with(b"\r\n\r\n") && answer.starts_with(CREATED) {
        return true;
    }
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    length.is_none_or(|length| {
        length
            .trim()
            .parse()
            .is_ok_and(|length: usize| body.len() >= length)
    })
}
