//! The catalogue: which image stands for which version of a program. (Pure.)
//!
//! It comes from the chart's values by way of a ConfigMap, whose keys `minio.<version>` the admission
//! policy of the chart reads as well: what is not listed is refused before it is stored.

use bakeoff_crds::spec::Product;
use std::collections::BTreeMap;

/// Images by program and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    images: BTreeMap<String, String>,
}

impl Catalogue {
    /// A catalogue from `program.version` to image.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        let trimmed = entries
            .into_iter()
            .map(|(key, image)| (key, image.trim().to_owned()));
        Self {
            images: trimmed.filter(|(_, image)| !image.is_empty()).collect(),
        }
    }

    /// The image of a version.
    #[must_use]
    pub fn image(&self, product: Product, version: &str) -> Option<&str> {
        self.images
            .get(&format!("{}.{version}", product.as_str()))
            .map(String::as_str)
    }

    /// All images.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.images.values().map(String::as_str)
    }

    /// The known versions of a program, for messages.
    #[must_use]
    pub fn versions(&self, product: Product) -> Vec<&str> {
        let prefix = format!("{}.", product.as_str());
        self.images
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .collect()
    }
}

/// The last part of the repository of an image, without registry, tag and digest: what the names that a node has for an
/// image share with the one that was asked for.
#[must_use]
pub fn repository(image: &str) -> &str {
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map_or(last, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_images_by_program_and_version() {
        let catalogue = Catalogue::new([
            ("minio.RELEASE.X".to_owned(), "m:x\n".to_owned()),
            ("seaweedfs.4.48".to_owned(), "s:4".to_owned()),
            ("seaweedfs.4.49".to_owned(), " ".to_owned()),
        ]);
        assert_eq!(catalogue.image(Product::Minio, "RELEASE.X"), Some("m:x"));
        assert_eq!(catalogue.image(Product::Minio, "4.48"), None);
        assert_eq!(catalogue.versions(Product::Seaweedfs), ["4.48"]);
    }

    #[test]
    fn an_image_has_one_repository_by_all_its_names() {
        for name in [
            "postgres:17",
            "docker.io/library/postgres:17.10-bookworm",
            "docker.io/library/postgres@sha256:0123",
            "localhost:5000/postgres",
            "localhost:5000/a/postgres:17@sha256:0123",
        ] {
            assert_eq!(repository(name), "postgres", "{name}");
        }
    }
}
