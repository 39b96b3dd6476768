//! `blobtool completions` and `blobtool man`: generated from the command line's own description.

use crate::cli::{Cli, Completions, Man};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use clap::CommandFactory;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

#[derive(Serialize)]
struct Text {
    text: String,
}

/// Runs `completions`.
pub fn completions(cli: &Cli, args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "blobtool", &mut script);
    print(cli, script)
}

/// Runs `man`.
pub fn man(cli: &Cli, args: &Man) -> Outcome {
    match &args.dir {
        Some(dir) => write_pages(dir).map_err(|error| Failure::file("write to", dir, &error)),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print(cli, page)
        }
    }
}

fn print(cli: &Cli, text: Vec<u8>) -> Outcome {
    if cli.json {
        let text = Text { text: String::from_utf8_lossy(&text).into_owned() };
        return Output::new(true).line_now(String::new, &text);
    }
    Ok(io::stdout().lock().write_all(&text)?)
}

fn write_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut command = Cli::command();
    command.build();
    let page = |name: &str| File::create(dir.join(format!("{name}.1")));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("blobtool-{}", verb.get_name());
        let verb = verb.clone().display_name(name.clone());
        clap_mangen::Man::new(verb).render(&mut page(&name)?)?;
    }
    clap_mangen::Man::new(command).render(&mut page("blobtool")?)
}
