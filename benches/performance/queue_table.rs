//! What the part `queue` has measured, as a table.

use crate::{
    bare_postgres::{self, Counted},
    load::Measured,
    report::{Spread, Table},
};

const COLUMNS: [&str; 13] = [
    "store",
    "waiting",
    "what",
    "messages/s",
    "refused",
    "writes in a commit",
    "of SQLite alone",
    "of PostgreSQL alone, 1 row a commit",
    "100 rows a commit",
    "fsyncs a message",
    "statements",
    "round trips",
    "of those with 0 waiting",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An engine, and how many messages of others wait there.
pub type Case = (Engine, u32);

pub struct Round {
    pub stored: Measured,
    /// Per second.
    pub forwarded: f64,
    /// Pushes to phones that are there.
    pub acknowledged: Measured,
    pub alone: Option<Alone>,
    pub postgres: Option<bare_postgres::Alone>,
    pub counted: Option<PerMessage>,
}

/// Without the daemon: messages per second.
pub struct Alone {
    /// Through its store.
    pub by_store: f64,
    /// SQLite alone, with as much in a commit.
    pub stored_together: f64,
    pub stored: f64,
    pub forwarded_together: f64,
    pub forwarded: f64,
}

/// What the daemon asks of PostgreSQL for a message.
pub struct PerMessage {
    pub stored: Counted,
    pub forwarded: Counted,
}

pub fn publish(
    cases: &[Case],
    measured: &[Vec<Round>],
    counted: &[Option<PerMessage>],
    write: bool,
) {
    let mut table = Table::new(&COLUMNS);
    for (index, (case, rounds)) in cases.iter().zip(measured).enumerate() {
        if rounds.is_empty() {
            continue;
        }
        // Before each engine's own with many waiting come those with none.
        let empty = &measured[index - index % 2];
        for row in rows(*case, rounds, counted[index].as_ref(), empty) {
            table.row(&row);
        }
    }
    table.publish("queue", write);
}

fn rows(
    (engine, waiting): Case,
    rounds: &[Round],
    counted: Option<&PerMessage>,
    empty: &[Round],
) -> Vec<[String; COLUMNS.len()]> {
    let name = match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let row = |what: &str, figure: fn(&Round) -> f64| {
        let per_second = Spread::of(rounds.iter().map(figure));
        let of_empty = rounds.iter().zip(empty);
        let of_empty = of_empty.map(|(round, empty)| figure(round) / figure(empty));
        let of_empty = (waiting > 0).then(|| Spread::of(of_empty));
        let mut row = [const { String::new() }; COLUMNS.len()];
        row[0] = name.to_owned();
        row[1] = waiting.to_string();
        row[2] = what.to_owned();
        row[3] = format!("{per_second:.0}");
        row[12] = of_empty.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        row
    };
    let mut stored = row("stored over HTTP", |round| round.stored.per_second);
    let mut forwarded = row("forwarded", |round| round.forwarded);
    let acknowledged = row("acknowledged at once, per CPU second", |round| {
        round.acknowledged.per_cpu_second
    });
    let refused = Spread::of(rounds.iter().map(|round| round.stored.refused));
    stored[4] = format!("{refused:.3}");
    let mut rows_of_case = Vec::new();
    match engine {
        Engine::Sqlite => {
            let alone = |figure: fn(&Round, &Alone) -> f64| {
                let figure = |round| Some(figure(round, round.alone.as_ref()?));
                Spread::of(rounds.iter().filter_map(figure))
            };
            let together = alone(|_, alone| alone.stored_together);
            stored[5] = format!("{together:.0}");
            let of_alone = alone(|round, alone| round.stored.per_second / alone.stored);
            stored[6] = format!("{of_alone:.2}");
            let together = alone(|_, alone| alone.forwarded_together);
            forwarded[5] = format!("{together:.0}");
            let of_alone = alone(|round, alone| round.forwarded / alone.forwarded);
            forwarded[6] = format!("{of_alone:.2}");
            if waiting == 0 {
                let by_store =
                    |round: &Round| round.alone.as_ref().map_or(0.0, |alone| alone.by_store);
                let mut inside = row("stored, without HTTP", by_store);
                let of_alone = alone(|_, alone| alone.by_store / alone.stored);
                inside[6] = format!("{of_alone:.2}");
                rows_of_case.push(inside);
            }
        }
        Engine::Postgres => {
            let beside = |figure: fn(bare_postgres::Alone) -> f64| {
                let figure =
                    |round: &Round| Some(round.stored.per_second / figure(round.postgres?));
                Spread::of(rounds.iter().filter_map(figure))
            };
            stored[7] = format!("{:.2}", beside(|alone| alone.single));
            stored[8] = format!("{:.2}", beside(|alone| alone.together));
            if let Some(counted) = counted {
                count(&mut stored, counted.stored);
                count(&mut forwarded, counted.forwarded);
            }
        }
    }
    rows_of_case.extend([stored, forwarded, acknowledged]);
    rows_of_case
}

fn count(row: &mut [String; COLUMNS.len()], counted: Counted) {
    row[9] = format!("{:.3}", counted.fsyncs);
    row[10] = format!("{:.2}", counted.statements);
    row[11] = format!("{:.2}", counted.trips);
}
