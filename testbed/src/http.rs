//! A small HTTP/1.1 client: one request per connection, the answer as it came.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub async fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    try_post(url, headers, body).await.expect("an HTTP answer")
}

/// A push with a TTL of a minute.
pub async fn push(endpoint: &str, body: &[u8]) -> Response {
    post(endpoint, &[("TTL", "60")], body).await
}

/// None when no answer comes.
pub async fn try_post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Response> {
    request("POST", url, headers, body).await
}

pub async fn get(url: &str) -> Response {
    try_get(url).await.expect("an HTTP answer")
}

/// None when nobody answers.
pub async fn try_get(url: &str) -> Option<Response> {
    request("GET", url, &[], b"").await
}

/// None when nobody answers.
pub async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Response> {
    let (authority, path) = split(url);
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
    head += &format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    let exchange = async {
        let mut socket = TcpStream::connect(authority).await.ok()?;
        // A server that refuses a large body may close before it has all of it.
        let _ = socket.write_all(&bytes).await;
        let mut answer = Vec::new();
        // Some servers keep the connection although they were asked not to.
        while !is_whole(&answer) {
            match socket.read_buf(&mut answer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        Some(answer)
    };
    let answer = timeout(PATIENCE, exchange).await;
    parse(&answer.expect("an HTTP answer in time")?)
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("an http URL");
    rest.split_at(rest.find('/').expect("a URL with a path"))
}

/// Whether as much is there as was announced, or more.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= end + 4 + length)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).expect("a header in ASCII");
    let (status_line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let headers = lines.lines().map(|line| {
        let (name, value) = line.split_once(':').expect("a header line");
        (name.to_owned(), value.trim().to_owned())
    });
    let response = Response {
        status: status.expect("a status line"),
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    };
    let length = response.header("content-length").map(str::parse);
    // 204: there can be no body.
    let announced = length.or((response.status == 204).then_some(Ok(0)));
    assert_eq!(announced, Some(Ok(response.body.len())), "a whole body");
    Some(response)
}
