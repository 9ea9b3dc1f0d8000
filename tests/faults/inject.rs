//! What each fault does, and when it is over.

use std::{rc::Rc, sync::Arc};

use rustix::process::Signal;
use testbed::{PATIENCE, eventually};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    database::Database,
    device::{Device, odd},
    disk::Mode,
    faults::{Kind, Planned},
    proxy::Stall,
    world::{AHEAD, Replica, World},
};

/// What a fault has for itself.
pub enum Hold {
    /// Of the replica with this number, or of what they share.
    Part {
        number: usize,
        _held: OwnedMutexGuard<()>,
    },
    Phone(OwnedMutexGuard<Device>),
}

impl World {
    /// None while other faults have whatever this one can be about, or there is no link to cut.
    pub fn hold(&self, planned: Planned) -> Option<Hold> {
        if planned.kind.of_a_phone() {
            return self.free_phone(planned).map(Hold::Phone);
        }
        let count = self.replicas.len();
        let candidates = (0..count).map(|next| (planned.which + next) % count);
        let hold = |number: usize| {
            let guard = self.part(planned.kind, &self.replicas[number])?;
            let _held = guard.clone().try_lock_owned().ok()?;
            Some(Hold::Part { number, _held })
        };
        candidates.filter_map(hold).next()
    }

    fn part<'a>(&'a self, kind: Kind, replica: &'a Replica) -> Option<&'a Arc<Mutex<()>>> {
        Some(match kind {
            Kind::DaemonKilled | Kind::DaemonStopped => &replica.process,
            Kind::Reloaded | Kind::Upgraded => &replica.process,
            Kind::ClockJumped => &replica.time,
            Kind::ProxyWrong => &self.front,
            Kind::ServerRestarted | Kind::ServerKilled => &self.server,
            Kind::DumpHeld => &self.database.as_ref()?.dumped,
            kind if kind.of_the_database() => &self.database.as_ref()?.busy,
            Kind::DiskFull | Kind::DiskReadOnly | Kind::SyncFailed => &replica.disk,
            _ => replica.has_link_to_cut().then_some(&replica.link)?,
        })
    }

    /// The first that is free.
    fn free_phone(&self, planned: Planned) -> Option<OwnedMutexGuard<Device>> {
        let phones = self.phones();
        let candidates =
            (0..phones.len()).map(|next| &phones[(planned.which + next) % phones.len()]);
        let mut free = candidates.filter_map(|phone| phone.clone().try_lock_owned().ok());
        free.next()
    }

    pub async fn inject(self: Rc<Self>, planned: Planned, hold: Hold) {
        let (replica, device) = match &hold {
            Hold::Part { number, .. } => (&self.replicas[*number], None),
            Hold::Phone(phone) => (&self.replicas[0], Some(phone.index)),
        };
        if planned.kind.of_the_link() {
            replica.early_cuts.update(|cuts| cuts + 1);
        }
        let record = self.ledger.begin(planned.kind, device);
        match (planned.kind, hold) {
            (_, Hold::Phone(phone)) => phone_fault(planned, phone).await,
            (Kind::DaemonKilled, hold) => {
                replica.daemon.kill().await;
                sleep(planned.length).await;
                self.start_again(replica).await;
                drop(hold);
                self.recovered().await;
            }
            (Kind::DaemonStopped, hold) => {
                self.stop(replica).await;
                sleep(planned.length).await;
                self.start_again(replica).await;
                drop(hold);
                self.recovered().await;
            }
            (Kind::ServerRestarted | Kind::ServerKilled, hold) => {
                let in_order = planned.kind == Kind::ServerRestarted;
                self.host.restart(in_order, planned.length).await;
                drop(hold);
                self.everybody_comes_back().await;
                self.recovered().await;
            }
            (Kind::LinkClosed | Kind::LinkReset, hold) => {
                replica.proxy.cut(planned.kind == Kind::LinkReset);
                drop(hold);
                self.recovered().await;
            }
            (Kind::Upgraded, hold) => {
                self.upgrade(replica, planned).await;
                drop(hold);
                self.recovered().await;
            }
            (Kind::Reloaded, _hold) => self.reload(replica, planned).await,
            (Kind::ClockJumped, _hold) => {
                const MINUTE: i64 = 60;
                let wrong = [-360, -60, -7, 0, 3, 60, 360][planned.form % 7] * MINUTE;
                replica.clock.set_offset(AHEAD.as_secs() as i64 + wrong);
                sleep(planned.length).await;
            }
            (Kind::ProxyWrong, _hold) => {
                self.path_altered.set(Some(planned.form));
                sleep(planned.length).await;
                self.path_altered.set(None);
            }
            (Kind::LinkStalled, hold) => {
                replica.proxy.stall(stall(planned.form));
                sleep(planned.length).await;
                release(replica, planned.form);
                drop(hold);
                self.recovered().await;
            }
            (Kind::LinkDead, hold) => {
                replica.proxy.stall(stall(planned.form));
                eventually(
                    "the daemon gives a dead link up",
                    4 * PATIENCE,
                    async || (!replica.daemon.has_link().await).then_some(()),
                )
                .await;
                release(replica, planned.form);
                drop(hold);
                self.recovered().await;
            }
            (Kind::DumpHeld, _hold) => self.shared().fault(planned).await,
            (kind, _hold) if kind.of_the_database() => {
                let database = self.shared();
                database.fails.set(true);
                database.fault(planned).await;
                // Whether the daemons notice soon enough is part of what is tested.
                self.ledger.end(record);
                for replica in &self.replicas {
                    replica.daemon.store("ok").await;
                }
                database.fails.set(false);
                // It works for a while before the next one.
                sleep(planned.length).await;
                return;
            }
            (kind, _hold) => {
                let mode = match kind {
                    Kind::DiskFull => Mode::Full,
                    Kind::DiskReadOnly => Mode::ReadOnly,
                    _ => Mode::SyncFails,
                };
                replica.disk_fails.set(true);
                replica.daemon.disk.set(mode);
                sleep(planned.length).await;
                replica.daemon.disk.set(Mode::Ok);
                replica.daemon.store("ok").await;
                replica.disk_fails.set(false);
            }
        }
        self.ledger.end(record);
    }

    fn shared(&self) -> &Database {
        self.database.as_ref().expect("it is planned for")
    }

    pub fn store_fails(&self, replica: &Replica) -> bool {
        let database = self.database.as_ref();
        replica.disk_fails.get() || database.is_some_and(|database| database.fails.get())
    }

    /// As systemd does, and as an upgrade does.
    pub async fn stop(&self, replica: &Replica) {
        let excused = self.store_fails(replica);
        let status = replica.daemon.end(Signal::TERM).await;
        if !status.success() && !excused && !self.store_fails(replica) {
            let log = replica.daemon.log_path();
            self.ledger
                .violation(format!("SIGTERM ended it with {status}, see {log:?}"));
        }
    }

    /// A daemon that ended by itself, without a failing store, is a failure.
    pub async fn start_again(&self, replica: &Replica) {
        replica.early_cuts.set(0);
        let started = replica.daemon.start(|| self.store_fails(replica)).await;
        if let Err(status) = started {
            let log = replica.daemon.log_path();
            self.ledger
                .violation(format!("the daemon does not start: {status}, see {log:?}"));
        }
    }

    /// Until the daemons have their links again; other faults may take them first.
    async fn recovered(&self) {
        let _ = timeout(2 * PATIENCE, self.linked()).await;
    }

    pub async fn everybody_comes_back(&self) {
        let mut phones = JoinSet::new();
        for device in &self.devices {
            let device = device.clone();
            phones.spawn_local(async move { device.lock().await.come_back().await });
        }
        phones.join_all().await;
    }
}

fn stall(form: usize) -> Stall {
    Stall {
        to_server: !form.is_multiple_of(3),
        to_daemon: form % 3 != 1,
    }
}

/// What was held back passes, or is lost with the connection.
fn release(replica: &Replica, form: usize) {
    match form / 3 % 3 {
        0 => replica.proxy.cut(true),
        1 => replica.proxy.cut(false),
        _ => replica.proxy.stall(Stall::default()),
    }
}

async fn phone_fault(planned: Planned, mut phone: OwnedMutexGuard<Device>) {
    phone.come_back().await;
    match planned.kind {
        Kind::PhoneLeft | Kind::PhoneAway => {
            phone.leave().await;
            sleep(planned.length).await;
            phone.bind().await;
        }
        Kind::PhoneResumed | Kind::PhoneTimedOut => {
            phone.hibernate().await;
            sleep(planned.length).await;
            phone.resume().await;
        }
        Kind::PhoneReplaced => {
            phone.hibernate().await;
            sleep(planned.length).await;
            phone.bind().await;
        }
        kind => {
            let behaviour = match kind {
                Kind::PhoneSilent => 0,
                Kind::PhoneLate => 1,
                _ => 2 + planned.form,
            };
            phone.behave(odd(behaviour, planned.length / 2));
            sleep(planned.length).await;
            phone.behave(Default::default());
            if planned.form.is_multiple_of(2) {
                phone.announce().await;
            }
        }
    }
    phone.come_back().await;
}
