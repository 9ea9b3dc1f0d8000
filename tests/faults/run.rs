//! One run: faults while messages are sent, then peace, and then nothing may be missing.

use std::{net::Ipv4Addr, rc::Rc, time::Duration};

use rustix::process::Signal;
use testbed::{eventually, http::request};
use tokio::{
    task::{JoinSet, LocalSet, spawn_local},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    SHORT,
    faults::{Conditions, Kind, Planned, schedule},
    host::On,
    inject::Hold,
    ledger::Message,
    measures::measure,
    report::Report,
    sender::{push_to_all, send},
    world::{Setup, World},
};

/// When every phone has come back, the next message comes within this: a daemon that was killed may
/// leave a lease of some seconds behind, and on a busy machine what follows takes its time.
const PEACE: Duration = Duration::from_secs(30);

/// The figures, whether or not it failed, are printed.
pub fn run(setup: Setup, verbose: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, perform(setup, verbose))
}

async fn perform(setup: Setup, verbose: bool) -> Result<(), String> {
    let mut world = Rc::new(World::start(setup).await);
    if let Some(old) = setup.old {
        world.replace(old).await;
    }
    let began = Instant::now();
    let stop = CancellationToken::new();
    let sender = spawn_local(send(world.clone(), stop.clone()));
    let measuring = spawn_local(measure(world.clone(), stop.clone()));
    storm(&world, verbose).await;
    stop.cancel();
    sender.await.expect("the sender's task");
    measuring.await.expect("the measuring task");
    let calm = Instant::now();
    calm_down(&world).await;
    push_to_all(&world).await;
    let lost = arrivals(&world).await;
    if lost.is_empty() {
        nothing_waits(&world).await;
    }
    let report = Report::new(&world, lost, calm - began).await;
    for replica in &world.replicas {
        let status = replica.daemon.end(Signal::TERM).await;
        if !status.success() {
            world
                .ledger
                .violation(format!("the last SIGTERM: {status}"));
        }
    }
    println!("{report}");
    let failure = report.failure();
    if failure.is_some()
        && let Some(world) = Rc::get_mut(&mut world)
    {
        world.dir.disable_cleanup(true);
        println!("logs and stores are kept in {}", world.dir.path().display());
    }
    failure.map_or(Ok(()), Err)
}

async fn storm(world: &Rc<World>, verbose: bool) {
    let conditions = Conditions {
        faults: world.setup.faults,
        seed: world.setup.seed,
        fast: world.setup.on == On::Loopback,
        hibernation: world.host.hibernation(),
        registration_ttl: world.host.registration_ttl(),
        postgres: world.database.is_some(),
        pooled: world.setup.is_pooled(),
        long: world.setup.faults > SHORT,
        lasting: world.setup.lasting,
    };
    let began = Instant::now();
    let mut faults = JoinSet::new();
    let mut planned = schedule(&conditions);
    let limit = world.setup.limit.unwrap_or(Duration::MAX);
    while let Some(next) = planned.first()
        && began.elapsed() < limit
    {
        sleep(next.pause).await;
        still_runs(world).await;
        let (index, hold) = free(world, &planned).await;
        let fault = planned.remove(index);
        faults.spawn_local(world.clone().inject(fault, hold));
        while let Some(done) = faults.try_join_next() {
            done.expect("a fault's task");
        }
        if verbose && planned.len().is_multiple_of(50) {
            let inner = world.ledger.inner();
            let waiting = inner.outstanding(Instant::now()).len();
            let (left, messages) = (planned.len(), inner.messages.len());
            let elapsed = began.elapsed().as_secs();
            println!("{elapsed:>5} s: {left} faults to come, {messages} messages, {waiting} wait");
        }
    }
    faults.join_all().await;
}

/// The first fault that can be, of the next few: those that wait for the database are not left to the end.
async fn free(world: &World, planned: &[Planned]) -> (usize, Hold) {
    const FEW: usize = 12;
    let hold = |(index, fault): (usize, &Planned)| Some((index, world.hold(*fault)?));
    loop {
        match planned.iter().take(FEW).enumerate().find_map(hold) {
            Some(found) => return found,
            None => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// No daemon may end by itself.
async fn still_runs(world: &World) {
    for replica in &world.replicas {
        let Ok(_alone) = replica.process.try_lock() else {
            continue;
        };
        if let Some(status) = replica.daemon.ended() {
            let log = replica.daemon.log_path();
            let what = format!("the daemon ended by itself: {status}, see {log:?}");
            world.ledger.violation(what);
            world.start_again(replica).await;
        }
    }
}

/// Everything works, and every phone binds anew. One with another resource than before registers
/// from there: until then its server may have what was sent to the former one.
async fn calm_down(world: &World) {
    for replica in &world.replicas {
        replica.daemon.store("ok").await;
    }
    world.linked().await;
    for device in &world.devices {
        let mut device = device.lock().await;
        // It announces itself, so that what it has may come once more.
        let record = world.ledger.begin(Kind::PhoneLeft, Some(device.index));
        if device.profile.roams {
            device.set_up().await;
        } else {
            device.leave().await;
            device.bind().await;
        }
        world.ledger.end(record);
    }
}

/// Awaits what is owed; gives what has not come when nothing comes any more.
async fn arrivals(world: &World) -> Vec<usize> {
    let mut missing = owed(world);
    let mut deadline = Instant::now() + PEACE;
    while !missing.is_empty() && Instant::now() < deadline {
        // Phones come in between; looking at everything takes its time.
        sleep(Duration::from_millis(100)).await;
        let still = owed(world);
        if still.len() < missing.len() {
            deadline = Instant::now() + PEACE;
        }
        missing = still;
    }
    missing
}

fn owed(world: &World) -> Vec<usize> {
    world.ledger.inner().outstanding(Instant::now())
}

/// What was acknowledged is gone from the store: it cannot come once more.
async fn nothing_waits(world: &World) {
    let locations: Vec<String> = {
        let inner = world.ledger.inner();
        let done = inner.messages.iter().filter(|it| it.acknowledged());
        let location = |message: &Message| message.accepted()?.location.clone();
        done.filter_map(location).collect()
    };
    let daemon = &world.replicas[0].daemon;
    for (number, location) in (0_u32..).zip(locations) {
        // Each asks for another client: whoever asks for what is gone again and again is refused.
        let client = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number).to_string();
        let (url, headers) = (daemon.at(&location), [("X-Forwarded-For", client.as_str())]);
        eventually("no acknowledged message waits", PEACE, async || {
            let answer = request("GET", &url, &headers, b"").await?;
            (answer.status == 404).then_some(())
        })
        .await;
    }
}
