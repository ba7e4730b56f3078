//! A page of a listing with all that the checks ask of it. (Pure.)

use crate::s3::xml::{XmlError, decoded, walk};

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// The keys, in the store's order.
    pub keys: Vec<String>,
    /// The size of each.
    pub sizes: Vec<u64>,
    /// The ETag of each, without quotes.
    pub etags: Vec<String>,
    /// The common prefixes, in the store's order.
    pub prefixes: Vec<String>,
    /// Whether it says that more follow.
    pub truncated: bool,
    /// Where the next page begins.
    pub token: Option<String>,
}

impl Listing {
    /// Takes the beginning of a folder from all names that have it.
    pub(super) fn without(&mut self, folder: &str) {
        for name in self.keys.iter_mut().chain(&mut self.prefixes) {
            if let Some(rest) = name.strip_prefix(folder) {
                *name = rest.to_owned();
            }
        }
    }
}

/// Reads a `ListBucketResult`.
///
/// # Errors
/// When it is none.
pub(super) fn parse(document: &[u8]) -> Result<Listing, XmlError> {
    let mut listing = Listing::default();
    let mut encoded = false;
    let mut is_one = false;
    walk(
        document,
        |path, text| {
            match path {
                "ListBucketResult/Contents/Key" => listing.keys.push(text.to_owned()),
                "ListBucketResult/Contents/Size" => {
                    let size = text.trim().parse();
                    listing
                        .sizes
                        .push(size.map_err(|_| XmlError::Shape("size is no number"))?);
                }
                "ListBucketResult/Contents/ETag" => {
                    listing.etags.push(text.trim_matches('"').to_owned());
                }
                "ListBucketResult/CommonPrefixes/Prefix" => {
                    listing.prefixes.push(text.to_owned());
                }
                "ListBucketResult/IsTruncated" => {
                    is_one = true;
                    listing.truncated = text.trim() == "true";
                }
                "ListBucketResult/NextContinuationToken" if !text.is_empty() => {
                    listing.token = Some(text.to_owned());
                }
                "ListBucketResult/EncodingType" => {
                    encoded = text.trim().eq_ignore_ascii_case("url");
                }
                _ => {}
            }
            Ok(())
        },
        |_| Ok(()),
    )?;
    if !is_one {
        return Err(XmlError::Shape("not a ListBucketResult"));
    }
    if encoded {
        for name in listing.keys.iter_mut().chain(&mut listing.prefixes) {
            *name = decoded(name)?;
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_stands() {
        let document =
            b"<ListBucketResult><Name>b</Name><Prefix>p/</Prefix><IsTruncated>true</IsTruncated>\
            <Contents><Key>p/ a&amp;b </Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents>\
            <Contents><Key>q</Key><Size>0</Size></Contents>\
            <CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes>\
            <NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let mut listing = parse(document).unwrap();
        listing.without("p/");
        assert_eq!(listing.keys, [" a&b ", "q"]);
        assert_eq!(
            (listing.sizes, listing.etags),
            (vec![3, 0], vec!["e".to_owned()])
        );
        assert_eq!(listing.prefixes, ["c/"]);
        assert_eq!(
            (listing.truncated, listing.token.as_deref()),
            (true, Some("t"))
        );
    }

    #[test]
    fn what_is_no_listing_is_none() {
        for document in [&b""[..], b"<html></html>", b"<ListBucketResult>"] {
            assert!(parse(document).is_err(), "{document:?}");
        }
        let encoded =
            b"<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>\
            <Contents><Key>a%2Bb</Key><Size>1</Size></Contents></ListBucketResult>";
        assert_eq!(parse(encoded).unwrap().keys, ["a+b"]);
    }
}
