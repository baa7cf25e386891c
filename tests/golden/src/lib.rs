//! Golden files: what a test made is to be what a file of the repository says.
//! `NETTING_UPDATE_GOLDEN=1` renews the files instead.

use std::{env, fmt::Write as _, fs, path::Path};

/// Renews the files, if it is set.
const UPDATE: &str = "NETTING_UPDATE_GOLDEN";

/// Holds a text to a file, which is written anew if that is asked for.
///
/// # Panics
/// If the two differ, at the caller; with the first line in which they do.
#[track_caller]
pub fn assert_golden(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    if env::var_os(UPDATE).is_some() {
        let written = fs::write(path, text);
        assert!(written.is_ok(), "{} cannot be written", path.display());
    }
    compare(path, text);
}

#[track_caller]
fn compare(path: &Path, text: &str) {
    // A file that isn't there is as good as an empty one.
    let golden = fs::read_to_string(path).unwrap_or_default();
    if golden == text {
        return;
    }
    let alike = golden.lines().zip(text.lines());
    let line = alike.take_while(|(golden, new)| golden == new).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("(its end)").to_owned();
    panic!(
        "line {} of {} says\n  {}\nand it should be\n  {}\n{UPDATE}=1 renews it",
        line + 1,
        path.display(),
        at(&golden),
        at(text),
    );
}

/// A page of the reference about annotations: how it begins, and a row for each of them,
/// with its name behind `netting.dev/`, what it says, and what holds without it.
#[must_use]
pub fn annotations_page<'a>(
    begins: &str,
    annotations: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) -> String {
    let mut page = begins.to_owned();
    for (name, value, default) in annotations {
        let _ = writeln!(page, "| `netting.dev/{name}` | {value} | {default} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_file_that_differs_is_told_by_its_first_line_that_does() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("golden");
        fs::write(&path, "one\ntwo\n").expect("it can be written");
        compare(&path, "one\ntwo\n");
        for (text, line) in [("one\nTWO\n", "line 2"), ("one\ntwo\nthree\n", "line 3")] {
            let told = catch_unwind(|| compare(&path, text)).expect_err("they differ");
            let told = told.downcast_ref::<String>().expect("it says where");
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_file_that_is_missing_is_told() {
        let told = catch_unwind(|| compare(Path::new("/nowhere/golden"), "one\n"));
        let told = told.expect_err("there is none");
        let told = told.downcast_ref::<String>().expect("it says which");
        assert!(told.contains("/nowhere/golden"), "{told}");
    }

    #[test]
    fn a_page_has_a_row_for_each_annotation() {
        let page = annotations_page("# Page\n", [("retries", "`0` to `10`", "`2`")]);
        assert_eq!(
            page,
            "# Page\n| `netting.dev/retries` | `0` to `10` | `2` |\n"
        );
    }
}
