//! The reference in `docs/`, which is what the programs say of themselves.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};
use netting_cli::Args;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the repository")
}

/// Commands that people see, each with its path: `netting catalog services`.
fn commands() -> Vec<(String, Command)> {
    fn add(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        let path = format!("{path} {}", command.get_name());
        let shown = command
            .clone()
            .mut_args(|arg| arg.hide_env_values(true))
            .bin_name(path.trim())
            .term_width(90);
        found.push((path.trim().to_owned(), shown));
        for sub in command.get_subcommands() {
            if sub.get_name() != "help" && !sub.is_hide_set() {
                add(sub, &path, found);
            }
        }
    }
    let mut whole = Args::command();
    whole.build();
    let mut found = Vec::new();
    add(&whole, "", &mut found);
    found
}

#[track_caller]
fn hold(page: &str, expected: &str) {
    let pages = repository().join("docs/reference");
    netting_golden::assert_golden(pages.join(page), expected);
}

#[test]
fn the_page_of_the_command_is_its_help() {
    let mut page = "# The `netting` command\n\nWhat `--help` says of each command.\n".to_owned();
    for (path, mut command) in commands() {
        let help = command.render_long_help().to_string();
        let help = help.trim_end();
        let _ = write!(page, "\n## `{path}`\n\n```text\n{help}\n```\n");
    }
    hold("netting.md", &page);
}

#[test]
fn every_command_shows_how_by_example() {
    for (path, mut command) in commands() {
        // Those below a command are in its examples.
        if path.split(' ').count() == 2 {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{path} has no examples");
        }
    }
}

#[test]
fn each_shell_completes_the_commands_and_their_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_netting"))
            .args(["completions", shell])
            .output()
            .expect("it runs");
        assert!(said.status.success(), "{shell}: {said:?}");
        let script = String::from_utf8(said.stdout).expect("a script is text");
        for word in ["uninstall", "support-bundle", "before-install"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

/// Every file below, or the file itself.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let listed = fs::read_dir(path).expect("the directory is there");
    let entries = listed.map(|entry| entry.expect("it can be listed").path());
    entries.flat_map(|path| files(&path)).collect()
}

#[test]
fn who_is_told_to_restart_what_runs_is_told_of_all_that_can_be() {
    const RESTART: &str = "rollout restart ";
    let mut found = 0;
    for place in ["README.md", "docs", "hack/quickstart.sh", "k8s/chart"] {
        for file in files(&repository().join(place)) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            for rest in text.split(RESTART).skip(1) {
                let what = rest.split(|c: char| c.is_whitespace() || c == '`').next();
                let what = what.unwrap_or_default();
                // One that is named is what is meant.
                let is_right = what == "deployment,statefulset,daemonset" || what.contains('/');
                assert!(is_right, "{}: {RESTART}{what}", file.display());
                found += 1;
            }
        }
    }
    assert!(found > 8, "there are only {found}");
}

/// As GitHub makes anchors of headings.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect()
}

/// What stands between `](` and `)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let rests = text.split("](").skip(1);
    rests.filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_are_there() {
    let docs = repository().join("docs");
    let reference = ["annotations", "programs", "service-annotations"];
    let mut pages = reference
        .map(|name| docs.join(format!("reference/{name}.md")))
        .to_vec();
    let listed = fs::read_dir(&docs).expect("the documentation is there");
    let files = listed.map(|entry| entry.expect("it can be listed").path());
    pages.extend(files.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    assert!(pages.len() > 5);
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page is text");
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a page is somewhere").join(file),
            };
            let there = fs::read_to_string(&target);
            let there = there.unwrap_or_else(|_| panic!("{}: no {link}", page.display()));
            let headings = there.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
            assert!(
                heading.is_empty() || anchors.any(|anchor| anchor == heading),
                "{}: no heading for {link}",
                page.display()
            );
        }
    }
}
