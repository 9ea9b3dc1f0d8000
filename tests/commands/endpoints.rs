//! Endpoints that are too long for some senders.

use testbed::Bed;

use crate::metrics::counts;

#[tokio::test]
async fn long_endpoints_are_foretold_counted_and_warned_of_once() {
    let mut bed = Bed::new().await;
    bed.text("backend", "jwt");
    let long = format!("/{}", "path/".repeat(30));
    let url = bed.url(&long);
    bed.text("http.public_url", &url);
    let said = bed.run(&["check-config"]).await.with(0);
    let foretold = "some application servers accept at most 500";
    assert!(said.contains(foretold), "{said}");
    let daemon = bed.start().await;
    for app in ["one", "two"] {
        assert!(bed.register(app).await.len() > 500);
    }
    daemon.logged("WARN an endpoint has ").await;
    assert_eq!(daemon.log().matches("an endpoint has").count(), 1);
    counts(&daemon, &[("long_endpoints_total", 2.0)]).await;
    daemon.stop().await;
}
