//! The application servers: they post, and remember every answer.

use std::{rc::Rc, time::Duration};

use testbed::{Random, http::try_post};
use tokio::{select, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{front::altered, host::On, ledger::Ledger, world::World};

/// Posts under way at once, at most.
const AT_ONCE: usize = 64;

/// A time to live that no jump of the clock uses up, in seconds.
const LONG: u64 = 2 * 86_400;

/// Until it is told to stop; then waits for the answers that are still to come.
pub async fn send(world: Rc<World>, stop: CancellationToken) {
    let mut random = Random::new(world.setup.seed, 2);
    let pauses = match world.setup.on {
        On::Loopback => 5..50,
        On::Real(_) => 20..120,
    };
    let mut posts = JoinSet::new();
    loop {
        select! {
            () = stop.cancelled() => break,
            () = sleep(random.millis(pauses.clone())) => {}
        }
        if posts.len() >= AT_ONCE {
            posts
                .join_next()
                .await
                .expect("not empty")
                .expect("no panic");
        }
        let post = Post::random(&world.ledger, &mut random);
        posts.spawn_local(post.perform(world.clone()));
        while let Some(done) = posts.try_join_next() {
            done.expect("no panic");
        }
    }
    posts.join_all().await;
}

/// Each endpoint that a phone was ever given takes a push in the end.
pub async fn push_to_all(world: &Rc<World>) {
    const TRIES: usize = 30;
    let count = world.ledger.inner().subscriptions.len();
    for subscription in 0..count {
        let endpoints = world.ledger.inner().subscriptions[subscription]
            .endpoints
            .clone();
        for url in endpoints {
            let push = Post {
                subscription,
                url,
                ..Post::default()
            };
            let mut tries = 0..TRIES;
            // Any other status is a violation already.
            while let Some(503) | None = push.clone().perform(world.clone()).await {
                if tries.next().is_none() {
                    let what =
                        format!("an endpoint of app {subscription} takes no push in the end");
                    world.ledger.violation(what);
                    return;
                }
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

#[derive(Clone)]
struct Post {
    subscription: usize,
    url: String,
    replica: usize,
    ttl: Option<u64>,
    topic: Option<usize>,
    urgency: &'static str,
    size: usize,
}

impl Default for Post {
    fn default() -> Self {
        Self {
            subscription: 0,
            url: String::new(),
            replica: 0,
            ttl: Some(LONG),
            topic: None,
            urgency: "normal",
            size: 0,
        }
    }
}

impl Post {
    fn random(ledger: &Ledger, random: &mut Random) -> Self {
        let inner = ledger.inner();
        let subscription = random.below(inner.subscriptions.len());
        let endpoints = &inner.subscriptions[subscription].endpoints;
        // Not every sender hears at once of the newest one.
        let url = match random.percent(25) {
            true => &endpoints[random.below(endpoints.len())],
            false => endpoints.last().expect("all are registered"),
        };
        let ttl = match random.below(100) {
            0..5 => Some(0),
            5..15 => Some(1 + random.below(6) as u64),
            15..25 => None,
            _ => Some(LONG),
        };
        let topic = random.percent(15).then(|| random.below(3));
        Self {
            subscription,
            url: url.clone(),
            replica: random.below(1 << 16),
            ttl,
            topic: topic.filter(|_| ttl != Some(0)),
            urgency: random.pick(&["very-low", "low", "normal", "high"]),
            size: if random.percent(10) { 4000 } else { 0 },
        }
    }

    async fn perform(self, world: Rc<World>) -> Option<u16> {
        /// `delivery.default_ttl`
        const DEFAULT_TTL: u64 = 86_400;
        let ttl = self.ttl.unwrap_or(DEFAULT_TTL);
        let ledger = &world.ledger;
        let (number, payload) = ledger.post(self.subscription, self.topic, ttl, self.size);
        let (ttl, topic) = (self.ttl.map(|ttl| ttl.to_string()), self.topic);
        let topic = topic.map(|topic| format!("topic-{topic}"));
        let mut headers = vec![("Urgency", self.urgency)];
        headers.extend(ttl.as_deref().map(|ttl| ("TTL", ttl)));
        headers.extend(topic.as_deref().map(|topic| ("Topic", topic)));
        let daemon = &world.replicas[self.replica % world.replicas.len()].daemon;
        let url = daemon.at(&self.url);
        let url = match world.path_altered.get() {
            Some(form) => altered(&url, form),
            None => url,
        };
        let answer = try_post(&url, &headers, &payload).await;
        let status = answer.as_ref().map(|answer| answer.status);
        ledger.answered(number, answer);
        status
    }
}
