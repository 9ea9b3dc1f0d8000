//! The link while it is up: reads, writes, and sees whether the server is still there.
//!
//! Reading never waits for writing: a server that stops reading stalls the pushes, until the link
//! is given up, but never the answers and registrations that arrive.

use std::{io, mem, pin::pin, time::Duration};

use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    courtesy::Courtesy,
    frame::NotWellFormed,
    keepalive::{Keepalive, Life},
    loss::Loss,
    outbox::Outbox,
    reader::Event,
    session::{Action, Session},
    settings::{LinkSettings, Timings},
    socket::Write,
    stream::Connection,
    writer,
};
use crate::{
    link::{Inbound, PushStanza, RegisterReply},
    metrics::OddStanza,
};

/// How often to look whether the server is still there.
pub fn check_every(timings: &Timings) -> Duration {
    timings.pong_within.min(timings.write) / 4
}

/// How often those are forgotten who have not asked lately.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What the rest of the daemon wants to be sent.
pub struct Queues<'a> {
    pub pushes: &'a mut mpsc::Receiver<PushStanza>,
    /// These go out before any push.
    pub replies: &'a mut mpsc::Receiver<RegisterReply>,
}

/// The link while it is up.
pub struct Up<'a> {
    settings: &'a LinkSettings,
    queues: Queues<'a>,
    inbound: &'a dyn Inbound,
    connection: Connection,
    session: Session,
    outbox: Outbox,
    courtesy: Courtesy,
    keepalive: Keepalive,
    /// TLS holds bytes of what was written, since the server takes no more at the moment.
    unflushed: bool,
    /// When the server last took bytes, or had none to take.
    writing_since: Instant,
    /// When those were forgotten who had not asked lately.
    forgot: Instant,
}

impl<'a> Up<'a> {
    pub fn new(
        settings: &'a LinkSettings,
        queues: Queues<'a>,
        session: Session,
        connection: Connection,
        inbound: &'a dyn Inbound,
    ) -> Self {
        let Timings {
            ping_after,
            pong_within,
            ..
        } = settings.timings;
        let now = Instant::now();
        Self {
            settings,
            queues,
            inbound,
            connection,
            session,
            outbox: Outbox::default(),
            courtesy: Courtesy::new(settings.domain.as_str()),
            keepalive: Keepalive::new(ping_after, pong_within, now),
            unflushed: false,
            writing_since: now,
            forgot: now,
        }
    }

    /// Ok: the shutdown ended it.
    pub async fn run(mut self, shutdown: &CancellationToken) -> Result<(), Loss> {
        // What came with the handshake.
        self.handle_read()?;
        let mut check = interval(check_every(&self.settings.timings));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = pin!(shutdown.cancelled());
        loop {
            if self.outbox.pending().is_empty() {
                let now = Instant::now();
                self.fill(now);
                if !self.unflushed {
                    self.writing_since = now;
                }
            }
            let idle = self.outbox.pending().is_empty();
            let Connection {
                reader,
                read,
                write,
                ..
            } = &mut self.connection;
            let mut buffer = reader.buffer();
            tokio::select! {
                () = &mut cancelled => return self.close().await,
                read = read.read_buf(&mut buffer) => {
                    if read.map_err(Loss::Cut)? == 0 {
                        return Err(Loss::Closed);
                    }
                    self.keepalive.heard(Instant::now());
                    self.handle_read()?;
                }
                written = write_or_flush(write, self.outbox.pending()), if !idle || self.unflushed => {
                    self.outbox.advance(written.map_err(Loss::Cut)?);
                    self.unflushed = match idle {
                        true => false,
                        false => {
                            let flushed = write.flush().now_or_never().transpose();
                            flushed.map_err(Loss::Cut)?.is_none()
                        }
                    };
                    self.writing_since = Instant::now();
                }
                Some(reply) = self.queues.replies.recv(), if idle => self.put_reply(&reply),
                Some(push) = self.queues.pushes.recv(), if idle => {
                    self.put_push(push, Instant::now());
                    // When others push as well, all that are ready now get to send first: one write
                    // for them all.
                    if !self.queues.pushes.is_empty() {
                        yield_now().await;
                    }
                    self.fill(Instant::now());
                }
                _ = check.tick() => self.check()?,
            }
        }
    }

    /// Makes a batch of what waits: registrations first, strangers last.
    fn fill(&mut self, now: Instant) {
        while self.outbox.has_room() {
            if let Ok(reply) = self.queues.replies.try_recv() {
                self.put_reply(&reply);
            } else if let Ok(push) = self.queues.pushes.try_recv() {
                self.put_push(push, now);
            } else {
                break;
            }
        }
        self.outbox.add_answers();
    }

    fn put_reply(&mut self, reply: &RegisterReply) {
        let LinkSettings {
            domain, extensions, ..
        } = self.settings;
        writer::register_reply(self.outbox.batch(), domain, *extensions.read(), reply);
    }

    fn put_push(&mut self, push: PushStanza, now: Instant) {
        if now < push.deadline && push.sent.take() {
            self.outbox.push(&self.settings.domain, &push);
        }
    }

    fn handle_read(&mut self) -> Result<(), Loss> {
        // Apart while the rest acts on what lies in its buffer. After an error nothing more is read.
        let mut reader = mem::take(&mut self.connection.reader);
        while let Some(event) = reader
            .next_event()
            .map_err(|NotWellFormed| Loss::NotWellFormed)?
        {
            match event {
                Event::Stanza(stanza) => {
                    if stanza.head.id == self.session.ping_id() {
                        self.keepalive.echoed(Instant::now());
                    }
                    if let Some(action) = self.session.handle(stanza) {
                        self.act(action)?;
                    }
                }
                Event::Unreadable(fault) => self.session.fault(fault),
                Event::End => return Err(Loss::Closed),
            }
        }
        self.connection.reader = reader;
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Loss> {
        match action {
            Action::Reply(reply) => self.answer(&reply.to, |out| writer::reply(out, &reply)),
            Action::Answer { from, id, answer } => {
                if !self.inbound.answer(&from, &id, answer) {
                    self.session.odd(OddStanza::UnknownAnswer);
                }
            }
            Action::Presence { from, available } => self.inbound.presence(&from, available),
            Action::Register(request) => {
                if let Err(refusal) = self.inbound.register(request) {
                    let LinkSettings {
                        domain, extensions, ..
                    } = self.settings;
                    let extensions = *extensions.read();
                    self.answer(refusal.to.as_str(), |out| {
                        writer::register_reply(out, domain, extensions, &refusal);
                    });
                }
            }
            Action::End(loss) => return Err(loss),
        }
        Ok(())
    }

    /// Queues an answer that a stranger asked for.
    fn answer(&mut self, to: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.courtesy.admits(to) || !self.outbox.answer(write) {
            self.session.odd(OddStanza::ReplyDropped);
        }
    }

    fn check(&mut self) -> Result<(), Loss> {
        let now = Instant::now();
        if now - self.forgot >= FORGET_EVERY {
            self.forgot = now;
            self.courtesy.forget_idle();
        }
        if now - self.writing_since >= self.settings.timings.write
            && (self.unflushed || !self.outbox.pending().is_empty())
        {
            return Err(Loss::Stuck);
        }
        match self.keepalive.check(now) {
            Life::Fine => Ok(()),
            Life::Ping(times) => {
                (0..times).for_each(|_| self.ping());
                Ok(())
            }
            Life::Dead => Err(Loss::Silent),
        }
    }

    /// Asks the server whether it is there, by asking ourselves through it: no other address is sure
    /// to be this server's.
    fn ping(&mut self) {
        let domain = &self.settings.domain;
        let id = self.session.ping_id();
        // Not among the answers to strangers, who could leave no room for it.
        writer::ping(self.outbox.batch(), domain, domain.as_str(), id);
    }

    /// Sends what is queued and ends the stream.
    async fn close(&mut self) -> Result<(), Loss> {
        let limit = self.settings.timings.write;
        // The daemon ends in any case.
        let _ = timeout(limit, self.flush()).await;
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        loop {
            if self.outbox.pending().is_empty() {
                self.fill(Instant::now());
            }
            if self.outbox.pending().is_empty() {
                break;
            }
            let written = self.connection.write.write(self.outbox.pending()).await?;
            self.outbox.advance(written);
        }
        self.connection.write.write_all(writer::FOOTER).await?;
        self.connection.write.shutdown().await
    }
}

/// Gives how many bytes were written. Whenever it is dropped, what was written is known.
async fn write_or_flush(write: &mut Write, pending: &[u8]) -> io::Result<usize> {
    match pending.is_empty() {
        true => write.flush().await.map(|()| 0),
        false => write.write(pending).await,
    }
}
