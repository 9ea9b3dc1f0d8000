//! The application servers: they post, and remember every answer.

use std::rc::Rc;

use testbed::{Random, http::try_post};
use tokio::{select, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{host::On, world::World};

/// Posts under way at once, at most.
const AT_ONCE: usize = 64;

/// An endpoint and the device that registered it.
struct Target {
    url: String,
    device: usize,
}

/// Until it is told to stop; then waits for the answers that are still to come.
pub async fn send(world: Rc<World>, stop: CancellationToken) {
    let targets = targets(&world).await;
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
        let endpoint = random.below(targets.len());
        let post = Post::new(endpoint, &targets[endpoint], &mut random);
        posts.spawn_local(post.perform(world.clone()));
        while let Some(done) = posts.try_join_next() {
            done.expect("no panic");
        }
    }
    posts.join_all().await;
}

async fn targets(world: &World) -> Vec<Target> {
    let mut targets = Vec::new();
    for phone in world.phones() {
        let phone = phone.lock().await;
        for url in &phone.endpoints {
            targets.push(Target {
                url: url.clone(),
                device: phone.index,
            });
        }
    }
    targets
}

struct Post {
    url: String,
    device: usize,
    endpoint: usize,
    replica: usize,
    ttl: Option<u64>,
    topic: Option<usize>,
    urgency: &'static str,
    size: usize,
}

impl Post {
    fn new(endpoint: usize, target: &Target, random: &mut Random) -> Self {
        let ttl = match random.below(100) {
            0..5 => Some(0),
            5..15 => Some(1 + random.below(6) as u64),
            15..25 => None,
            _ => Some(3600),
        };
        let topic = random.percent(15).then(|| random.below(3));
        Self {
            url: target.url.clone(),
            device: target.device,
            endpoint,
            replica: random.below(1 << 16),
            ttl,
            topic: topic.filter(|_| ttl != Some(0)),
            urgency: random.pick(&["very-low", "low", "normal", "high"]),
            size: if random.percent(10) { 4000 } else { 0 },
        }
    }

    async fn perform(self, world: Rc<World>) {
        /// `delivery.default_ttl`
        const DEFAULT_TTL: u64 = 86_400;
        let ttl = self.ttl.unwrap_or(DEFAULT_TTL);
        let ledger = &world.ledger;
        let (number, payload) = ledger.post(self.device, self.endpoint, self.topic, ttl, self.size);
        let (ttl, topic) = (self.ttl.map(|ttl| ttl.to_string()), self.topic);
        let topic = topic.map(|topic| format!("topic-{topic}"));
        let mut headers = vec![("Urgency", self.urgency)];
        headers.extend(ttl.as_deref().map(|ttl| ("TTL", ttl)));
        headers.extend(topic.as_deref().map(|topic| ("Topic", topic)));
        let daemon = &world.replicas[self.replica % world.replicas.len()].daemon;
        let answer = try_post(&daemon.at(&self.url), &headers, &payload).await;
        ledger.answered(number, answer);
    }
}
