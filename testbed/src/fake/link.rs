//! The connections of a component (XEP-0114), seen from its server.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    select,
    sync::mpsc,
    task::JoinSet,
};

use super::State;
use crate::{
    component::handshake,
    xml::{Received, StreamReader},
};

/// How many stanzas may wait for a component.
const QUEUE: usize = 1 << 13;

const STREAM_ID: &str = "3BF96D32";

/// One connection after the other, or as many as come.
pub async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, many: bool) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        connections.spawn(attend(socket, state.clone()));
        while match many {
            true => connections.try_join_next().is_some(),
            false => connections.join_next().await.is_some(),
        } {}
    }
}

/// One component's connection, from its handshake to its end.
async fn attend(mut socket: TcpStream, state: Arc<Mutex<State>>) -> io::Result<()> {
    let mut reader = StreamReader::default();
    if !admit(&mut socket, &mut reader, &state).await? {
        return Ok(());
    }
    let (to_component, mut outgoing) = mpsc::channel::<String>(QUEUE);
    {
        let mut state = state.lock().unwrap();
        if !state.running {
            return Ok(());
        }
        state.components.push(to_component);
    }
    let (mut read, mut write) = socket.split();
    loop {
        select! {
            received = reader.next(&mut read) => {
                let Received::Stanza(stanza) = received else { return Ok(()) };
                let mut locked = state.lock().unwrap();
                // One that was read as the server stopped is lost.
                if !outgoing.is_closed() && locked.running {
                    locked.route(stanza, &state);
                }
            }
            xml = outgoing.recv() => match xml {
                Some(xml) => write.write_all(xml.as_bytes()).await?,
                None => return Ok(()),
            }
        }
    }
}

/// Lets a component in that knows the secret.
async fn admit(
    socket: &mut TcpStream,
    reader: &mut StreamReader,
    state: &Mutex<State>,
) -> io::Result<bool> {
    let Received::Header(_) = reader.next(socket).await else {
        return Ok(false);
    };
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
         xmlns:stream='http://etherx.jabber.org/streams' id='{STREAM_ID}' from='fake'>"
    );
    socket.write_all(header.as_bytes()).await?;
    let proof = handshake(STREAM_ID, &state.lock().unwrap().account.secret);
    let admitted =
        matches!(reader.next(socket).await, Received::Stanza(stanza) if stanza.text == proof);
    let answer = match admitted {
        true => "<handshake/>",
        false => {
            "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             </stream:error></stream:stream>"
        }
    };
    socket.write_all(answer.as_bytes()).await?;
    Ok(admitted)
}
