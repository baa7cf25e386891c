//! Images are directories of the node's, by a table: nothing is pulled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An entry of the table: `NAME=DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    name: String,
    dir: PathBuf,
}

/// The images a node has, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images(BTreeMap<String, PathBuf>);

/// Parses `NAME=DIR`; the directory must exist.
pub(crate) fn parse(arg: &str) -> Result<Image, String> {
    let (name, dir) = arg.split_once('=').ok_or("write NAME=DIR")?;
    if name.is_empty() {
        return Err("the image has no name; write NAME=DIR".to_owned());
    }
    let dir = Path::new(dir)
        .canonicalize()
        .map_err(|error| format!("the image's directory {dir} can't be used: {error}"))?;
    if !dir.is_dir() {
        return Err(format!("{} is no directory", dir.display()));
    }
    Ok(Image {
        name: name.to_owned(),
        dir,
    })
}

impl Images {
    pub(crate) fn new(images: Vec<Image>) -> Self {
        Self(
            images
                .into_iter()
                .map(|image| (image.name, image.dir))
                .collect(),
        )
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The image's directory.
    ///
    /// # Errors
    /// A message for the pod's status that names the images there are.
    pub(crate) fn find(&self, name: &str) -> Result<&Path, String> {
        self.0.get(name).map(PathBuf::as_path).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            format!("image {name:?} is not on this node and none are pulled; it has {known:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_image_and_says_how_to_write_one() {
        for (arg, said) in [
            ("", "NAME=DIR"),
            ("image", "NAME=DIR"),
            ("=/tmp", "no name"),
            ("image=/nowhere/at/all", "can't be used"),
            ("image=/etc/passwd", "no directory"),
        ] {
            let error = parse(arg).expect_err(arg);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_unknown_image_is_answered_with_the_known_ones() {
        let images = Images::new(vec![parse("example/app:1=/tmp").expect("an image")]);
        assert_eq!(images.find("example/app:1"), Ok(Path::new("/tmp")));
        let error = images.find("example/app:2").expect_err("unknown");
        assert!(error.contains("example/app:1"), "{error}");
    }
}
