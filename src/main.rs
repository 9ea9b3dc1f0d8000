//! The thin binary around the library.

use std::process::ExitCode;

// A push makes ten allocations, which take longer with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    unified_push::cli::main()
}
