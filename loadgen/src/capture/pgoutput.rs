//! What `pgoutput` says of changes, version 1 of its protocol. (Pure.)
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use std::collections::HashMap;

/// Microseconds from 1970 to 2000, which the server counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A change of a row of the table that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// When its transaction was committed, microseconds since 1970.
    pub at_micros: i64,
    /// What tells its row from others.
    pub run: Vec<u8>,
    /// What was done.
    pub act: Act,
    /// The word of the column that says how far the run is, where one is followed.
    pub kind: Option<String>,
    /// Bytes of the column with the state, where one is followed and the change wrote it.
    pub value: Option<u32>,
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Insert,
    Update,
    Delete,
}

/// What is followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    /// The table, by schema and name; absent: the only one of the publication.
    pub table: Option<(String, String)>,
    /// The column that tells runs apart; absent: those of the replica identity.
    pub run: Option<String>,
    /// The column that says how far the run is.
    pub kind: Option<String>,
    /// The column with the state.
    pub value: Option<String>,
}

/// Why a message cannot be used, in words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It ends too early or is of no known kind.
    #[error("a message of pgoutput cannot be read ({0})")]
    Form(&'static str),
    /// What is followed is not there.
    #[error("{table} has no column {column:?} that its publication sends; there are {known}")]
    Column {
        table: String,
        column: String,
        known: String,
    },
    /// Rows cannot be told apart.
    #[error("{0} has no replica identity of few columns: name the column of the run with --run")]
    Identity(String),
    /// The column of the run is not sent with deletions.
    #[error(
        "a change of {0} says not of which run: its replica identity has to hold the column of the run"
    )]
    Anonymous(String),
    /// All rows went away at once.
    #[error("{0} was truncated while it was followed: what became of its runs is not known")]
    Truncated(String),
    /// Several tables are sent.
    #[error("the publication has {0} and {1}: say with --table which of them holds the runs")]
    Several(String, String),
}

/// What tells a run from others, of the columns that do: of several, each keeps its bounds.
pub(super) fn key<'a>(parts: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let several = parts.len() > 1;
    let mut key = Vec::new();
    for part in parts {
        if several {
            key.extend_from_slice(&(part.len() as u64).to_be_bytes());
        }
        key.extend_from_slice(part);
    }
    key
}

/// A table as it was announced: where in a row what is looked for is.
#[derive(Clone, Debug)]
struct Relation {
    name: String,
    /// Whether it is the one that is followed.
    followed: bool,
    run: Vec<usize>,
    kind: Option<usize>,
    value: Option<usize>,
}

/// Understands messages one after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    followed: Followed,
    relations: HashMap<u32, Relation>,
    committed: i64,
}

impl Decoder {
    pub fn new(followed: Followed) -> Self {
        Self {
            followed,
            relations: HashMap::new(),
            committed: 0,
        }
    }

    /// Takes a message; hands out what changed. A row that gets another key is removed and inserted.
    pub fn take(&mut self, message: &[u8], mut found: impl FnMut(Change)) -> Result<(), Unusable> {
        let mut bytes = Bytes(message);
        match bytes.u8()? {
            b'B' => {
                bytes.skip(8)?;
                self.committed = bytes.i64()?.saturating_add(EPOCH_MICROS);
            }
            b'R' => {
                let id = bytes.u32()?;
                let relation = self.relation(&mut bytes)?;
                let other = self
                    .relations
                    .values()
                    .find(|other| other.followed && other.name != relation.name);
                if let Some(other) = other.filter(|_| relation.followed) {
                    return Err(Unusable::Several(other.name.clone(), relation.name));
                }
                self.relations.insert(id, relation);
            }
            b'I' => {
                let Some(relation) = self.of(&mut bytes)? else {
                    return Ok(());
                };
                bytes.skip(1)?;
                found(self.change(relation, Act::Insert, &bytes.row()?)?);
            }
            b'U' => {
                let Some(relation) = self.of(&mut bytes)? else {
                    return Ok(());
                };
                let tag = bytes.u8()?;
                let before = if tag == b'N' {
                    None
                } else {
                    Some(bytes.row()?)
                };
                if before.is_some() {
                    bytes.skip(1)?;
                }
                let change = self.change(relation, Act::Update, &bytes.row()?)?;
                match before
                    .map(|row| self.change(relation, Act::Delete, &row))
                    .transpose()?
                {
                    Some(before) if before.run != change.run => {
                        found(before);
                        found(Change {
                            act: Act::Insert,
                            ..change
                        });
                    }
                    _ => found(change),
                }
            }
            b'D' => {
                let Some(relation) = self.of(&mut bytes)? else {
                    return Ok(());
                };
                bytes.skip(1)?;
                found(self.change(relation, Act::Delete, &bytes.row()?)?);
            }
            b'T' => {
                let tables = bytes.u32()?;
                bytes.skip(1)?;
                for _ in 0..tables {
                    let relation = self.relations.get(&bytes.u32()?);
                    if let Some(relation) = relation.filter(|relation| relation.followed) {
                        return Err(Unusable::Truncated(relation.name.clone()));
                    }
                }
            }
            // The end of a transaction, where it comes from, a type, a message of somebody.
            b'C' | b'O' | b'Y' | b'M' => {}
            _ => return Err(Unusable::Form("of no known kind")),
        }
        Ok(())
    }

    fn relation(&self, bytes: &mut Bytes<'_>) -> Result<Relation, Unusable> {
        let (schema, table) = (bytes.text()?, bytes.text()?);
        let identity = bytes.u8()?;
        let count = bytes.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let key = bytes.u8()? & 1 == 1;
            columns.push((bytes.text()?, key));
            bytes.skip(8)?;
        }
        let name = format!("{schema}.{table}");
        let followed = self
            .followed
            .table
            .as_ref()
            .is_none_or(|wanted| *wanted == (schema, table));
        let find = |column: &String| {
            let place = columns.iter().position(|(known, _)| known == column);
            place.ok_or_else(|| {
                let known: Vec<&str> = columns
                    .iter()
                    .take(30)
                    .map(|(known, _)| known.as_str())
                    .collect();
                Unusable::Column {
                    table: name.clone(),
                    column: column.clone(),
                    known: known.join(", "),
                }
            })
        };
        if !followed {
            return Ok(Relation {
                name,
                followed,
                run: Vec::new(),
                kind: None,
                value: None,
            });
        }
        let run = match &self.followed.run {
            Some(column) => vec![find(column)?],
            None if identity == b'f' => return Err(Unusable::Identity(name)),
            None => (0..columns.len())
                .filter(|&place| columns[place].1)
                .collect(),
        };
        if run.is_empty() {
            return Err(Unusable::Identity(name));
        }
        let kind = self.followed.kind.as_ref().map(find).transpose()?;
        let value = self.followed.value.as_ref().map(find).transpose()?;
        Ok(Relation {
            name,
            followed,
            run,
            kind,
            value,
        })
    }

    /// The table of a change, where it is followed.
    fn of(&self, bytes: &mut Bytes<'_>) -> Result<Option<&Relation>, Unusable> {
        let relation = self.relations.get(&bytes.u32()?);
        let relation = relation.ok_or(Unusable::Form("of a table that was not announced"))?;
        Ok(Some(relation).filter(|relation| relation.followed))
    }

    fn change(&self, relation: &Relation, act: Act, row: &[Field<'_>]) -> Result<Change, Unusable> {
        let text = |place: Option<usize>| match place.and_then(|place| row.get(place)) {
            Some(Field::Text(bytes)) => Some(*bytes),
            _ => None,
        };
        let parts = relation.run.iter().map(|&place| {
            text(Some(place)).ok_or_else(|| Unusable::Anonymous(relation.name.clone()))
        });
        let parts: Vec<&[u8]> = parts.collect::<Result<_, _>>()?;
        Ok(Change {
            at_micros: self.committed,
            run: key(parts.into_iter()),
            act,
            kind: text(relation.kind).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            value: text(relation.value).and_then(|bytes| u32::try_from(bytes.len()).ok()),
        })
    }
}

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field<'a> {
    /// NULL, or a large one that was not written anew.
    Absent,
    Text(&'a [u8]),
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn some(&mut self, count: usize) -> Result<&'a [u8], Unusable> {
        let cut = self.0.split_at_checked(count);
        let (some, rest) = cut.ok_or(Unusable::Form("cut off"))?;
        self.0 = rest;
        Ok(some)
    }

    fn skip(&mut self, count: usize) -> Result<(), Unusable> {
        self.some(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let some = self.some(N)?;
        some.try_into().map_err(|_| Unusable::Form("cut off"))
    }

    fn u8(&mut self) -> Result<u8, Unusable> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Unusable> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Unusable> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Unusable> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A text that ends with a zero.
    fn text(&mut self) -> Result<String, Unusable> {
        let length = self.0.iter().position(|&byte| byte == 0);
        let bytes = self.some(length.ok_or(Unusable::Form("cut off"))?)?;
        self.skip(1)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn row(&mut self) -> Result<Vec<Field<'a>>, Unusable> {
        let mut row = Vec::new();
        for _ in 0..self.u16()? {
            row.push(match self.u8()? {
                b'n' | b'u' => Field::Absent,
                b't' => {
                    let length = self.u32()? as usize;
                    Field::Text(self.some(length)?)
                }
                _ => return Err(Unusable::Form("with a field of no known kind")),
            });
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    fn row(fields: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = (fields.len() as u16).to_be_bytes().to_vec();
        for field in fields {
            match field {
                None => bytes.push(b'u'),
                Some(field) => {
                    bytes.push(b't');
                    bytes.extend((field.len() as u32).to_be_bytes());
                    bytes.extend(field.as_bytes());
                }
            }
        }
        bytes
    }

    fn begin(micros: i64) -> Vec<u8> {
        [
            &b"B"[..],
            &[0; 8],
            &(micros - EPOCH_MICROS).to_be_bytes(),
            &[0; 4],
        ]
        .concat()
    }

    fn relation(id: u32, name: &str, identity: u8, columns: &[(&str, bool)]) -> Vec<u8> {
        let mut bytes = [
            &b"R"[..],
            &id.to_be_bytes(),
            &text("public"),
            &text(name),
            &[identity],
        ]
        .concat();
        bytes.extend((columns.len() as u16).to_be_bytes());
        for (column, key) in columns {
            bytes.push(u8::from(*key));
            bytes.extend(text(column));
            bytes.extend([0; 8]);
        }
        bytes
    }

    fn of(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
        [&[kind][..], &id.to_be_bytes(), &parts.concat()].concat()
    }

    const COLUMNS: [(&str, bool); 3] = [("run_id", true), ("status", false), ("state", false)];

    fn followed() -> Followed {
        Followed {
            kind: Some("status".to_owned()),
            value: Some("state".to_owned()),
            ..Followed::default()
        }
    }

    fn decoded(decoder: &mut Decoder, messages: &[Vec<u8>]) -> Result<Vec<Change>, Unusable> {
        let mut changes = Vec::new();
        for message in messages {
            decoder.take(message, |change| changes.push(change))?;
        }
        Ok(changes)
    }

    fn told(change: &Change) -> (i64, &str, Act, Option<&str>, Option<u32>) {
        let run = std::str::from_utf8(&change.run).unwrap_or("?");
        (
            change.at_micros,
            run,
            change.act,
            change.kind.as_deref(),
            change.value,
        )
    }

    #[test]
    fn a_life_is_followed_by_the_times_of_its_commits() {
        let mut decoder = Decoder::new(followed());
        let messages = [
            begin(1_700_000_000_000_001),
            relation(5, "runs", b'd', &COLUMNS),
            of(
                b'I',
                5,
                &[b"N", &row(&[Some("7"), Some("new"), Some("{}")])],
            ),
            vec![b'C'],
            begin(1_700_000_000_000_009),
            of(b'U', 5, &[b"N", &row(&[Some("7"), Some("on"), None])]),
            of(
                b'U',
                5,
                &[
                    b"K",
                    &row(&[Some("7"), None, None]),
                    b"N",
                    &row(&[Some("8"), Some("on"), None]),
                ],
            ),
            of(b'D', 5, &[b"K", &row(&[Some("8"), None, None])]),
        ];
        let changes = decoded(&mut decoder, &messages).unwrap();
        let (first, then) = (1_700_000_000_000_001, 1_700_000_000_000_009);
        assert_eq!(
            changes.iter().map(told).collect::<Vec<_>>(),
            [
                (first, "7", Act::Insert, Some("new"), Some(2)),
                (then, "7", Act::Update, Some("on"), None),
                (then, "7", Act::Delete, None, None),
                (then, "8", Act::Insert, Some("on"), None),
                (then, "8", Act::Delete, None, None),
            ]
        );
    }

    #[test]
    fn other_tables_are_passed_over_and_two_are_not_mixed() {
        let both = [
            relation(5, "runs", b'd', &COLUMNS),
            relation(6, "steps", b'd', &[("id", true)]),
            of(b'I', 6, &[b"N", &row(&[Some("1")])]),
        ];
        let mut one = Decoder::new(Followed {
            table: Some(("public".to_owned(), "runs".to_owned())),
            ..followed()
        });
        assert_eq!(decoded(&mut one, &both).unwrap(), []);
        let mut any = Decoder::new(Followed::default());
        let said = decoded(&mut any, &both).unwrap_err();
        assert_eq!(
            said,
            Unusable::Several("public.runs".to_owned(), "public.steps".to_owned())
        );
        // A table whose columns were changed is announced once more.
        let again = [both[0].clone(), relation(5, "runs", b'd', &COLUMNS)];
        assert!(decoded(&mut Decoder::new(followed()), &again).is_ok());
    }

    #[test]
    fn what_does_not_tell_runs_apart_is_said() {
        let said = |followed: Followed, messages: &[Vec<u8>]| {
            decoded(&mut Decoder::new(followed), messages)
                .unwrap_err()
                .to_string()
        };
        let full = [relation(5, "runs", b'f', &COLUMNS)];
        assert!(said(Followed::default(), &full).contains("name the column of the run with --run"));
        let none = [relation(5, "runs", b'n', &[("a", false)])];
        assert!(said(Followed::default(), &none).contains("no replica identity"));
        let other = Followed {
            run: Some("id".to_owned()),
            ..Followed::default()
        };
        assert!(said(other, &full).contains(
            "no column \"id\" that its publication sends; there are run_id, status, state"
        ));
        let by_status = Followed {
            run: Some("status".to_owned()),
            ..Followed::default()
        };
        let gone = [
            relation(5, "runs", b'd', &COLUMNS),
            of(b'D', 5, &[b"K", &row(&[Some("8"), None, None])]),
        ];
        assert!(said(by_status, &gone).contains("says not of which run"));
        let emptied = [
            relation(5, "runs", b'd', &COLUMNS),
            [&b"T"[..], &1_u32.to_be_bytes(), &[0], &5_u32.to_be_bytes()].concat(),
        ];
        assert!(said(followed(), &emptied).contains("was truncated"));
    }

    /// Keys of two columns do not run into each other.
    #[test]
    fn keys_of_several_columns_keep_their_bounds() {
        let messages = [
            relation(5, "runs", b'd', &[("a", true), ("b", true)]),
            of(b'I', 5, &[b"N", &row(&[Some("1"), Some("23")])]),
            of(b'I', 5, &[b"N", &row(&[Some("12"), Some("3")])]),
        ];
        let changes = decoded(&mut Decoder::new(Followed::default()), &messages).unwrap();
        assert_ne!(changes[0].run, changes[1].run);
    }

    /// Whatever comes: an error or a change, and no panic.
    #[test]
    fn broken_messages_are_refused() {
        let good = [
            begin(1_700_000_000_000_001),
            relation(5, "runs", b'd', &COLUMNS),
            of(
                b'U',
                5,
                &[
                    b"K",
                    &row(&[Some("7"), None, None]),
                    b"N",
                    &row(&[Some("8"), Some("on"), None]),
                ],
            ),
        ];
        let mut rng = bakeoff_crds::rng::SplitMix64::new(3);
        for _ in 0..200_000 {
            let mut decoder = Decoder::new(followed());
            for message in &good {
                let mut message = message.clone();
                for _ in 0..rng.below(3) {
                    let place = usize::try_from(rng.below(message.len() as u64)).unwrap_or(0);
                    message[place] = u8::try_from(rng.below(256)).unwrap_or(0);
                }
                message.truncate(message.len() - usize::try_from(rng.below(2)).unwrap_or(0));
                let _ = decoder.take(&message, |_| ());
            }
        }
    }
}
