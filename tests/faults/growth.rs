//! Whether what a process holds grows, out of samples of it.

use std::time::Duration;

/// Samples over the life of a process, at even distances.
#[derive(Default)]
pub struct Series(Vec<(Duration, f64)>);

/// What a series shows once the process is warm: its first quarter fills the caches and the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Of the whole series.
    pub lasted: Duration,
    /// What it holds at rest, in the first and in the last third of what is left. Each time that
    /// something waits it holds more, and then less again; a leak is what is not given back.
    pub first: f64,
    pub last: f64,
    /// The slope of the line with the least squares through all of it.
    pub per_hour: f64,
}

/// Growth is a leak if it is more than both.
pub struct Allowed {
    pub rise: f64,
    /// Of what it held first.
    pub share: f64,
}

impl Series {
    pub fn push(&mut self, age: Duration, value: f64) {
        self.0.push((age, value));
    }

    pub fn lasted(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |(age, _)| *age)
    }

    /// None of a series that is too short to have parts.
    pub fn growth(&self) -> Option<Growth> {
        let warm = &self.0[self.0.len() / 4..];
        let third = warm.len() / 3;
        if third == 0 {
            return None;
        }
        Some(Growth {
            lasted: self.lasted(),
            first: at_rest(&warm[..third]),
            last: at_rest(&warm[warm.len() - third..]),
            per_hour: slope(warm) * 3600.0,
        })
    }
}

impl Growth {
    /// Whether the process was old enough for its growth to say anything.
    pub fn tells(&self) -> bool {
        const OLD: Duration = Duration::from_secs(240);
        self.lasted >= OLD
    }

    pub fn is_a_leak(&self, allowed: &Allowed) -> bool {
        let rise = self.last - self.first;
        self.tells() && rise > allowed.rise && rise > allowed.share * self.first
    }
}

/// Only a tenth of the samples are lower.
fn at_rest(samples: &[(Duration, f64)]) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}

/// A second.
fn slope(samples: &[(Duration, f64)]) -> f64 {
    let count = samples.len() as f64;
    let middle = samples
        .iter()
        .map(|(age, _)| age.as_secs_f64())
        .sum::<f64>()
        / count;
    let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
    let (mut together, mut apart) = (0.0, 0.0);
    for (age, value) in samples {
        let from_middle = age.as_secs_f64() - middle;
        together += from_middle * (value - mean);
        apart += from_middle * from_middle;
    }
    together / apart
}

/// What is checked of this, by name.
pub const CHECKS: [(&str, fn()); 5] = [
    ("a_line_has_its_slope", checks::a_line_has_its_slope),
    (
        "a_leak_is_seen_through_noise",
        checks::a_leak_is_seen_through_noise,
    ),
    (
        "a_descriptor_kept_now_and_then_is_a_leak",
        checks::a_descriptor_kept_now_and_then_is_a_leak,
    ),
    (
        "noise_and_a_warm_up_are_no_leak",
        checks::noise_and_a_warm_up_are_no_leak,
    ),
    (
        "a_young_process_is_not_judged",
        checks::a_young_process_is_not_judged,
    ),
];

mod checks {
    use std::time::Duration;

    use testbed::Random;

    use super::{Growth, Series};
    use crate::measures::{DESCRIPTORS, MEMORY};

    /// Of a process of so many seconds.
    fn of(seconds: u64, value: impl FnMut(u64) -> f64) -> Growth {
        let values = (0..seconds).zip((0..seconds).map(value));
        let sample = |(age, value)| (Duration::from_secs(age), value);
        Series(values.map(sample).collect())
            .growth()
            .expect("a long series")
    }

    /// As measured: memory goes up by a half while something waits, a minute of each five or so, and never
    /// stays quite the same.
    fn noise(random: &mut Random, second: u64) -> f64 {
        let waits = second % 300 > 240 || random.percent(3);
        random.below(300) as f64 + if waits { 2000.0 } else { 0.0 }
    }

    pub fn a_line_has_its_slope() {
        let growth = of(1000, |second| 5.0 + second as f64 / 10.0);
        assert!((growth.per_hour - 360.0).abs() < 1e-6, "{growth:?}");
        assert_eq!(growth.lasted, Duration::from_secs(999));
        // A tenth into the first third of what is warm, and into the last one.
        assert_eq!((growth.first, growth.last), (5.0 + 27.5, 5.0 + 77.5));
    }

    pub fn a_leak_is_seen_through_noise() {
        for seed in 0..100 {
            let mut random = Random::new(seed, 0);
            // Half a KiB for each of 12 pushes a second.
            let growth = of(900, |second| {
                4000.0 + 6.0 * second as f64 + noise(&mut random, second)
            });
            assert!(growth.is_a_leak(&MEMORY), "seed {seed}: {growth:?}");
        }
    }

    pub fn a_descriptor_kept_now_and_then_is_a_leak() {
        for seed in 0..100 {
            let mut random = Random::new(seed, 0);
            let mut kept = 0;
            let growth = of(900, |_| {
                kept += usize::from(random.percent(4));
                (14 + kept + random.below(8)) as f64
            });
            assert!(growth.is_a_leak(&DESCRIPTORS), "seed {seed}: {growth:?}");
        }
    }

    pub fn noise_and_a_warm_up_are_no_leak() {
        for seed in 0..100 {
            let mut random = Random::new(seed, 0);
            let growth = of(900, |second| {
                4000.0 - 2000.0 * (-(second as f64) / 60.0).exp() + noise(&mut random, second)
            });
            assert!(!growth.is_a_leak(&MEMORY), "seed {seed}: {growth:?}");
            let growth = of(900, |_| {
                let waits = if random.percent(10) {
                    random.below(30)
                } else {
                    0
                };
                (14 + random.below(8) + waits) as f64
            });
            assert!(!growth.is_a_leak(&DESCRIPTORS), "seed {seed}: {growth:?}");
        }
    }

    pub fn a_young_process_is_not_judged() {
        assert!(!of(200, |second| 1000.0 * second as f64).is_a_leak(&MEMORY));
        assert!(of(300, |second| 1000.0 * second as f64).is_a_leak(&MEMORY));
    }
}
