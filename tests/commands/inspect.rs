//! `inspect`: what an endpoint stands for, and whether it works.

use testbed::{
    Bed, PATIENCE,
    bed::{BACKENDS, OWNER, push, secret_of},
    eventually,
};

#[tokio::test]
async fn it_tells_about_an_endpoint_of_every_back_end() {
    for backend in BACKENDS {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        let _daemon = bed.start().await;
        let endpoint = bed.register("app").await;
        let token = endpoint.rsplit('/').next().unwrap();

        let whole = bed.run(&["inspect", &endpoint]).await.with(0);
        assert!(
            whole.contains(&format!("back end:    {backend}\n")),
            "{whole}"
        );
        assert!(
            whole.contains(&format!("owner:       {OWNER}/phone\n")),
            "{whole}"
        );
        assert!(whole.contains("\nexpires:     2"), "{whole}");
        assert!(whole.ends_with("state:       valid\n"), "{whole}");
        assert!(!whole.contains(token), "{whole}");
        assert_eq!(bed.run(&["inspect", token]).await.with(0), whole);
        let line = format!("{endpoint}\n");
        let piped = bed.run_with(bed.command(&["inspect", "-"]), line.as_bytes());
        assert_eq!(piped.await.with(0), whole);

        bed.run(&["registrations", "revoke", OWNER]).await.with(0);
        let revoked = bed.run(&["inspect", &endpoint]).await.with(1);
        assert!(
            revoked.ends_with("state:       revoked: pushes get 404\n"),
            "{revoked}"
        );
    }
}

#[tokio::test]
async fn an_expired_endpoint_is_called_so() {
    for backend in BACKENDS {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        bed.text("registration_ttl", "1s");
        bed.text("registration_grace", "0s");
        let _daemon = bed.start().await;
        let endpoint = bed.register("app").await;
        let dead = async || (push(&endpoint).await == 404).then_some(());
        eventually("it expires", PATIENCE, dead).await;
        let said = bed.run(&["inspect", &endpoint]).await.with(1);
        assert!(
            said.ends_with("state:       expired: pushes get 404\n"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused_without_an_echo() {
    let mut bed = Bed::new().await;
    let daemon = bed.start().await;
    let endpoint = bed.register("app").await;
    daemon.stop().await;
    bed.text("secret", &secret_of('b'));
    for foreign in [
        endpoint.as_str(),
        "garbage",
        "-garbage",
        "-hgarbage",
        "--garbage",
        "http://x/push/",
        "eyJ..",
    ] {
        let said = bed.run(&["inspect", foreign]).await.with(1);
        assert!(
            said.starts_with("unified-push: this is not an endpoint of this "),
            "{said}"
        );
        let token = foreign.rsplit('/').next().unwrap();
        assert!(token.is_empty() || !said.contains(token), "{said}");
    }
    let empty = bed.run_with(bed.command(&["inspect", "-"]), b"").await;
    empty.with(1);
}

#[tokio::test]
async fn it_needs_the_daemons_state() {
    let bed = Bed::new().await;
    let said = bed.run(&["inspect", "anything"]).await.with(1);
    assert!(said.contains("unified-push.db"), "{said}");
    assert!(said.contains("`state_dir`"), "{said}");
    assert!(!bed.state_dir().exists(), "nothing is made");
}

#[tokio::test]
async fn help_is_still_help() {
    let bed = Bed::new().await;
    for option in ["-h", "--help"] {
        let said = bed.run(&["inspect", option]).await.with(0);
        assert!(said.contains("Usage: "), "{said}");
    }
}
