//! Takes a few fields out of an object, and reads past all others.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Takes fields out of an object: the number of each, and what is left of its path.
pub(super) struct Fill<'a> {
    pub(super) wanted: &'a [(usize, &'a str)],
    pub(super) found: &'a mut [Option<String>],
}

impl Fill<'_> {
    fn set(self, text: impl Into<String>) {
        let text = text.into();
        for (index, _) in self.wanted.iter().filter(|(_, rest)| rest.is_empty()) {
            self.found[*index] = Some(text.clone());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.set(value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Under(self.wanted))? {
            if wanted.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Fill {
                    wanted: &wanted,
                    found: &mut *self.found,
                })?;
            }
        }
        Ok(())
    }
}

/// Which of the fields lie under a key.
struct Under<'a>(&'a [(usize, &'a str)]);

impl<'de, 'a> DeserializeSeed<'de> for Under<'a> {
    type Value = Vec<(usize, &'a str)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Under<'a> {
    type Value = Vec<(usize, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        // A key may have dots itself, so that a path is not split beforehand.
        let under = self
            .0
            .iter()
            .filter_map(|(index, rest)| match rest.strip_prefix(key)? {
                "" if !rest.is_empty() => Some((*index, "")),
                more => more.strip_prefix('.').map(|more| (*index, more)),
            });
        Ok(under.filter(|_| !key.is_empty()).collect())
    }
}
