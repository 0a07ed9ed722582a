//! Writes the inputs that fuzzing starts from: `cargo run --example seeds TARGET DIRECTORY`.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: seeds TARGET DIRECTORY"));
    };
    std::fs::create_dir_all(&directory)?;
    for (number, seed) in ward_fuzz::seeds(&target).iter().enumerate() {
        std::fs::write(Path::new(&directory).join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
