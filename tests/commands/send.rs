//! `send`: what the answer means, in words, and never the endpoint.

use testbed::{Bed, Behaviour, bed::Ended, free_port};

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
    assert_eq!(said, "413: the message is larger than 4096 bytes\n");

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
