//! `docs/protocol.md`: every example on it is sent, in its order, and answered as printed. What is new
//! each time stands on the page as a sample: tokens, ids, dates and signatures.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use testbed::{
    Bed, Behaviour, FakePhone,
    bed::OWNER,
    http::{Response, request},
    vapid::Sender,
    xml::Element,
};
use tokio::task::JoinHandle;
use unified_push::model::time::{Clock, SystemClock};

const PAGE: &str = include_str!("../../docs/protocol.md");
const URL: &str = "https://up.example.org";

/// Of the application server on the page.
const PRIVATE_KEY: &str = "qAtOahXFjXegX3Ck3Dxd90Mqv11NX2Ym78qCjdaJZAw";

#[tokio::test]
async fn every_example_of_the_protocol_is_answered_as_printed() {
    let mut bed = Bed::new().await;
    bed.text("backend", "storage");
    bed.text("http.public_url", URL);
    let _daemon = bed.start().await;
    let mut story = Story {
        bed,
        others: Vec::new(),
        samples: HashMap::new(),
        said: None,
        posted: None,
    };
    let examples = examples();
    for (index, example) in examples.iter().enumerate() {
        match example.kind() {
            Kind::Asks => story.ask(example).await,
            Kind::IsTold => story.is_told(example).await,
            Kind::IsPushed => story.is_pushed(example).await,
            // The phone in the test does so by itself.
            Kind::Acknowledges => {}
            Kind::Requests => story.request(example, &examples[index + 1..]).await,
            Kind::Responds => story.responds(example).await,
        }
    }
    assert!(story.said.is_none() && story.posted.is_none());
    let count = PAGE.matches("*Example ").count();
    assert!(count >= 16, "{count} examples");
}

/// A block of the page.
struct Example {
    text: String,
}

enum Kind {
    /// A phone, with a stanza.
    Asks,
    IsTold,
    IsPushed,
    Acknowledges,
    /// An application server.
    Requests,
    Responds,
}

fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for block in PAGE.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "xml" | "http" => examples.push(Example {
                text: text.to_owned(),
            }),
            other => assert_eq!(other, "xsd"),
        }
    }
    examples
}

impl Example {
    fn kind(&self) -> Kind {
        let head = self.text.split('>').next().unwrap();
        let from_us = head.contains("from='up.example.org'");
        let answers = head.contains("type='result'") || head.contains("type='error'");
        match (head.starts_with('<'), from_us, answers) {
            (true, false, false) => Kind::Asks,
            (true, false, true) => Kind::Acknowledges,
            (true, true, true) => Kind::IsTold,
            (true, true, false) => Kind::IsPushed,
            (false, ..) if head.starts_with("HTTP/1.1 ") => Kind::Responds,
            (false, ..) => Kind::Requests,
        }
    }
}

struct Story {
    bed: Bed,
    others: Vec<FakePhone>,
    /// What a sample on the page is this time.
    samples: HashMap<String, String>,
    said: Option<Element>,
    posted: Option<JoinHandle<Response>>,
}

impl Story {
    async fn ask(&mut self, example: &Example) {
        if example.text.starts_with("<presence") {
            self.bed.server.inject(example.text.clone()).await;
            return;
        }
        let stanza = Element::parse(&example.text).await;
        let from = stanza.attr("from").unwrap();
        if from != format!("{OWNER}/phone") {
            self.others.push(self.bed.server.phone(from));
        }
        self.said = Some(self.bed.server.say(&example.text).await);
    }

    async fn is_told(&mut self, example: &Example) {
        let said = self.said.take().expect("an answer to something");
        let printed = Element::parse(&example.text).await;
        self.compare(&printed, &said);
    }

    async fn is_pushed(&mut self, example: &Example) {
        let printed = Element::parse(&example.text).await;
        let push = &printed.children[0];
        let arrived = self.bed.arrived().await;
        assert_eq!(Some(&*arrived.from), printed.attr("from"));
        assert_eq!(Some(&*arrived.pair.application), push.attr("application"));
        assert_eq!(Some(&*arrived.pair.instance), push.attr("instance"));
        assert_eq!(STANDARD.encode(&arrived.payload), push.text);
    }

    async fn request(&mut self, example: &Example, next: &[Example]) {
        let (head, body) = head_and_body(&example.text);
        let mut lines = head.lines();
        let line = self.present(lines.next().unwrap());
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.strip_suffix(" HTTP/1.1").unwrap();
        let address = self.bed.config.get("http.listen");
        let url = format!("http://{address}{path}");
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .filter(|(name, _)| *name != "Host")
            .map(|(name, value)| (name.to_owned(), signed(value)))
            .collect();
        self.behave(next);
        let (method, body) = (method.to_owned(), body.to_owned());
        self.posted = Some(tokio::spawn(async move {
            let headers = headers.iter().map(|(name, value)| (&**name, &**value));
            let headers: Vec<_> = headers.collect();
            let response = request(&method, &url, &headers, body.as_bytes()).await;
            response.expect("an answer")
        }));
    }

    /// The phone does with what comes in what the page says next.
    fn behave(&self, next: &[Example]) {
        let is_answer = |example: &&Example| matches!(example.kind(), Kind::Acknowledges);
        let until = |example: &&Example| !matches!(example.kind(), Kind::Responds);
        let answer = next.iter().take_while(until).find(is_answer);
        self.bed.phone.behave(match answer {
            Some(_) => Behaviour::Conversations,
            None => Behaviour::Silent,
        });
        if answer.is_some_and(|answer| answer.text.contains("item-not-found")) {
            self.bed.phone.forget();
        }
    }

    async fn responds(&mut self, example: &Example) {
        let (head, body) = head_and_body(&example.text);
        let response = self.posted.take().expect("a request").await.unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        assert_eq!(response.status.to_string(), status, "{head}");
        for line in lines {
            let (name, printed) = line.split_once(": ").unwrap();
            let found = response.header(name).expect(name);
            if name == "Location" {
                self.bind(printed, found);
            } else {
                assert_eq!(found, printed, "{name}");
            }
        }
        assert_eq!(response.text().trim_end(), body.trim_end());
        // For what comes next.
        self.bed.phone.behave(Behaviour::Conversations);
    }

    fn compare(&mut self, printed: &Element, said: &Element) {
        assert_eq!(
            (&printed.name, &printed.namespace),
            (&said.name, &said.namespace)
        );
        let names = |element: &Element| {
            let mut names: Vec<_> = element
                .attributes
                .iter()
                .map(|(name, _)| name)
                .cloned()
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(printed), names(said), "{printed:?}");
        for (name, value) in &printed.attributes {
            let found = said.attr(name).unwrap();
            match name.as_str() {
                "endpoint" => self.bind(value, found),
                "expiration" => {
                    let form = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
                    assert_eq!(form(found), form(value));
                }
                _ => assert_eq!(found, value, "{name}"),
            }
        }
        assert_eq!(printed.text.trim(), said.text.trim());
        assert_eq!(printed.children.len(), said.children.len(), "{said:?}");
        for (printed, said) in printed.children.iter().zip(&said.children) {
            self.compare(printed, said);
        }
    }

    /// Two URLs that differ in their last part only, which is a sample on the page.
    fn bind(&mut self, printed: &str, found: &str) {
        let (base, sample) = printed.rsplit_once('/').unwrap();
        let (found_base, found) = found.rsplit_once('/').unwrap();
        assert_eq!(found_base, base);
        assert_eq!(
            found.len(),
            sample.len(),
            "a sample that looks like {found}"
        );
        let known = self
            .samples
            .entry(sample.to_owned())
            .or_insert(found.to_owned());
        assert_eq!(known, found, "{sample}");
    }

    fn present(&self, line: &str) -> String {
        let samples = self.samples.iter();
        samples.fold(line.to_owned(), |line, (sample, found)| {
            line.replace(sample, found)
        })
    }
}

fn head_and_body(text: &str) -> (&str, &str) {
    text.split_once("\n\n").unwrap_or((text, ""))
}

/// A header with a signature of this moment in place of the sample.
fn signed(value: &str) -> String {
    let Some((_, key)) = value.split_once(", k=") else {
        return value.to_owned();
    };
    let soon = SystemClock.now().as_secs() + 3600;
    Sender::with_key(PRIVATE_KEY, key).authorization(URL, soon)
}
