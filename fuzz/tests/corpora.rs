//! Every input that is kept: as it is, cut short, and with some bytes changed, the same ones each time.
//! UNIFIED_PUSH_FUZZ_ROUNDS says how often, UNIFIED_PUSH_FUZZ for which target only.

use std::{collections::BTreeSet, env, fs, path::Path};

use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::Rng;
use unified_push_fuzz::TARGETS;

const ROUNDS: usize = 20;

#[test]
fn nothing_that_is_kept_is_misread() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let kept = fs::read_dir(&corpora).unwrap();
    let kept = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = TARGETS.iter().map(|(name, _)| (*name).to_owned());
    let (kept, known): (BTreeSet<_>, BTreeSet<_>) = (kept.collect(), known.collect());
    assert_eq!(kept, known, "each target has a corpus");
    let only = env::var("UNIFIED_PUSH_FUZZ").ok();
    let rounds = env::var("UNIFIED_PUSH_FUZZ_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    for (name, target) in TARGETS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let inputs = fs::read_dir(corpora.join(name)).unwrap();
        let inputs = inputs.map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let inputs: Vec<_> = inputs.collect();
        assert!(!inputs.is_empty(), "{name} has none");
        let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        for input in &inputs {
            for part in 1..=4 {
                run(name, *target, &input[..input.len() * part / 4]);
            }
            let mut changed = input.clone();
            for round in 0..rounds {
                if round % 8 == 0 {
                    changed.clone_from(input);
                }
                change(&mut changed, &inputs, &mut random);
                run(name, *target, &changed);
            }
        }
        println!("{name}: {} inputs", inputs.len() * (4 + rounds));
    }
}

fn run(name: &str, target: fn(&[u8]), data: &[u8]) {
    let shown = Shown(name, data);
    target(data);
    std::mem::forget(shown);
}

/// Says which input it was when its target panics.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        println!("{}: \"{}\"", self.0, self.1.escape_ascii());
    }
}

fn change(data: &mut Vec<u8>, others: &[Vec<u8>], random: &mut TestRng) {
    let mut below = |limit: usize| random.next_u32() as usize % limit.max(1);
    let at = below(data.len() + 1);
    let end = (at + below(16)).min(data.len());
    match below(5) {
        0 => data.insert(at, below(256) as u8),
        1 => drop(data.drain(at..end)),
        2 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        3 => {
            let other = &others[below(others.len())];
            let from = below(other.len() + 1);
            let piece = other[from..(from + below(16)).min(other.len())].to_vec();
            data.splice(at..end, piece);
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << below(8);
            }
        }
    }
    // As libFuzzer by itself.
    data.truncate(4096);
}
