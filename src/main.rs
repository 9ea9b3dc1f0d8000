//! The thin binary around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    unified_push::cli::main()
}
