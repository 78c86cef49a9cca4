//! What a command has to say. A reader who has seen enough, such as `head`, ends the command, quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// As the shell tells of a program that SIGPIPE has ended: 128 and the signal's number.
const UNREAD: i32 = 141;

/// Prints a line to standard output.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}
pub(super) use tell;

pub(super) fn line(text: Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        cannot_write(&error);
    }
}

/// Prints a line to standard error, if anybody reads it.
pub(super) fn aside(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// There is no more to be done for a command whose output goes nowhere.
pub(super) fn cannot_write(error: &std::io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(UNREAD);
    }
    aside(format_args!("slipway: cannot write the output: {error}"));
    std::process::exit(1);
}
