//! The program that libFuzzer drives. UNIFIED_PUSH_FUZZ names the target.

#![no_main]
#![expect(unsafe_code, reason = "libFuzzer calls it by its name")]

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use unified_push_fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("UNIFIED_PUSH_FUZZ").expect("UNIFIED_PUSH_FUZZ names a target");
    unified_push_fuzz::target(&name).expect("UNIFIED_PUSH_FUZZ names a target")
});

fuzz_target!(|data: &[u8]| TARGET(data));
