//! What `pgoutput` says of changes, version 1 of its protocol. (Pure.)
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

/// Microseconds from 1970 to 2000, which the server counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A change of a row of the table that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// When its transaction was committed, microseconds since 1970.
    pub at_micros: i64,
    /// What tells its row from others; absent where the row does not say.
    pub run: Option<Vec<u8>>,
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
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// The table, by the number that the server has for it: one that gets another name is the same.
    pub table: u32,
    /// The columns that tell runs apart, one at least.
    pub run: Vec<String>,
    /// The column that says how far the run is.
    pub kind: Option<String>,
    /// The column with the state.
    pub value: Option<String>,
    /// Whether the removal of a row ends its run, so that it has to say of which.
    pub removals: bool,
}

/// Why a message cannot be used, in words that hold no name: they are kept in the trace.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It ends too early or is of no known kind.
    #[error("a message of pgoutput cannot be read ({0})")]
    Form(&'static str),
    /// What is followed is not there any more.
    #[error(
        "a column that is followed is no longer sent: the table or its publication was changed"
    )]
    Column,
    /// The column of the run is not sent with deletions any more.
    #[error(
        "a removal does not say of which run: the replica identity of the table was changed, and has to hold the column of the run"
    )]
    Anonymous,
    /// All rows went away at once.
    #[error("the table was truncated while it was followed: what became of its runs is not known")]
    Truncated,
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

/// The table as it was announced: where in a row what is looked for is.
#[derive(Clone, Debug)]
struct Relation {
    run: Vec<usize>,
    /// Whether removals say of which run.
    removals: bool,
    kind: Option<usize>,
    value: Option<usize>,
}

/// Understands messages one after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    followed: Followed,
    relation: Option<Relation>,
    committed: i64,
}

impl Decoder {
    pub fn new(followed: Followed) -> Self {
        Self {
            followed,
            relation: None,
            committed: i64::MIN,
        }
    }

    /// When the transaction was committed that is being taken or was the last, of whatever table: microseconds since 1970.
    pub fn committed(&self) -> i64 {
        self.committed
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
                if bytes.u32()? == self.followed.table {
                    self.relation = Some(self.announced(&mut bytes)?);
                }
            }
            b'I' => {
                let Some(relation) = self.of(&mut bytes)? else {
                    return Ok(());
                };
                bytes.skip(1)?;
                found(self.change(relation, Act::Insert, &bytes.row()?));
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
                let change = self.change(relation, Act::Update, &bytes.row()?);
                let before = before.map(|row| self.change(relation, Act::Delete, &row));
                match before {
                    // Of a key that has not the column of the run in it nothing is known, and the run is the same.
                    Some(before)
                        if before.run.is_some()
                            && change.run.is_some()
                            && before.run != change.run =>
                    {
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
                let change = self.change(relation, Act::Delete, &bytes.row()?);
                if self.followed.removals && change.run.is_none() && !relation.removals {
                    return Err(Unusable::Anonymous);
                }
                found(change);
            }
            b'T' => {
                let tables = bytes.u32()?;
                bytes.skip(1)?;
                for _ in 0..tables {
                    if bytes.u32()? == self.followed.table {
                        return Err(Unusable::Truncated);
                    }
                }
            }
            // The end of a transaction, where it comes from, a type, a message of somebody.
            b'C' | b'O' | b'Y' | b'M' => {}
            _ => return Err(Unusable::Form("of no known kind")),
        }
        Ok(())
    }

    fn announced(&self, bytes: &mut Bytes<'_>) -> Result<Relation, Unusable> {
        // Its names and the sort of its replica identity, of which nothing is needed.
        bytes.text()?;
        bytes.text()?;
        bytes.skip(1)?;
        let mut columns = Vec::new();
        for _ in 0..bytes.u16()? {
            let identity = bytes.u8()? & 1 == 1;
            columns.push((bytes.text()?, identity));
            bytes.skip(8)?;
        }
        let find = |column: &String| {
            let place = columns.iter().position(|(known, _)| known == column);
            place.ok_or(Unusable::Column)
        };
        let run: Vec<usize> = self
            .followed
            .run
            .iter()
            .map(find)
            .collect::<Result<_, _>>()?;
        let identity = |place: &usize| columns.get(*place).is_some_and(|(_, identity)| *identity);
        Ok(Relation {
            removals: run.iter().all(identity),
            run,
            kind: self.followed.kind.as_ref().map(find).transpose()?,
            value: self.followed.value.as_ref().map(find).transpose()?,
        })
    }

    /// The table of a change, where it is followed.
    fn of(&self, bytes: &mut Bytes<'_>) -> Result<Option<&Relation>, Unusable> {
        if bytes.u32()? != self.followed.table {
            return Ok(None);
        }
        let relation = self.relation.as_ref();
        relation
            .map(Some)
            .ok_or(Unusable::Form("of a table that was not announced"))
    }

    fn change(&self, relation: &Relation, act: Act, row: &[Field<'_>]) -> Change {
        let text = |place: usize| match row.get(place) {
            Some(Field::Text(bytes)) => Some(*bytes),
            _ => None,
        };
        let parts: Option<Vec<&[u8]>> = relation.run.iter().map(|&place| text(place)).collect();
        let kind = relation.kind.and_then(text);
        let value = relation.value.and_then(text);
        Change {
            at_micros: self.committed,
            run: parts.map(|parts| key(parts.into_iter())),
            act,
            kind: kind.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            value: value.and_then(|bytes| u32::try_from(bytes.len()).ok()),
        }
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
            table: 5,
            run: vec!["run_id".to_owned()],
            kind: Some("status".to_owned()),
            value: Some("state".to_owned()),
            removals: true,
        }
    }

    fn by(column: &str, removals: bool) -> Followed {
        Followed {
            run: vec![column.to_owned()],
            removals,
            ..followed()
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
        let run = std::str::from_utf8(change.run.as_deref().unwrap()).unwrap();
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
    fn other_tables_are_passed_over_and_one_that_is_renamed_is_not() {
        let mut decoder = Decoder::new(followed());
        let messages = [
            relation(6, "steps", b'd', &[("id", true)]),
            of(b'I', 6, &[b"N", &row(&[Some("1")])]),
            [&b"T"[..], &1_u32.to_be_bytes(), &[0], &6_u32.to_be_bytes()].concat(),
            relation(5, "runs", b'd', &COLUMNS),
            of(b'I', 5, &[b"N", &row(&[Some("7"), None, None])]),
            // It has got another name and a column more, in front.
            relation(
                5,
                "old_runs",
                b'd',
                &[&[("new", false)][..], &COLUMNS].concat(),
            ),
            of(b'D', 5, &[b"K", &row(&[None, Some("7"), Some("on"), None])]),
            relation(9, "runs", b'd', &COLUMNS),
            of(b'I', 9, &[b"N", &row(&[Some("8"), None, None])]),
        ];
        let changes = decoded(&mut decoder, &messages).unwrap();
        let told: Vec<_> = changes.iter().map(told).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((told[0].1, told[0].2), ("7", Act::Insert));
        assert_eq!((told[1].1, told[1].2), ("7", Act::Delete));
    }

    #[test]
    fn that_a_table_changes_so_that_it_cannot_be_followed_is_said() {
        let said = |followed: Followed, message: Vec<u8>| {
            let messages = [relation(5, "runs", b'd', &COLUMNS), message];
            decoded(&mut Decoder::new(followed), &messages).unwrap_err()
        };
        let without = relation(5, "runs", b'd', &COLUMNS[..2]);
        assert_eq!(said(followed(), without), Unusable::Column);
        let gone = of(b'D', 5, &[b"K", &row(&[Some("8"), None, None])]);
        assert_eq!(said(by("status", true), gone), Unusable::Anonymous);
        let emptied = [&b"T"[..], &1_u32.to_be_bytes(), &[0], &5_u32.to_be_bytes()].concat();
        assert_eq!(said(followed(), emptied), Unusable::Truncated);
        let early = decoded(
            &mut Decoder::new(followed()),
            &[of(b'I', 5, &[b"N", &row(&[Some("8"), None, None])])],
        );
        assert_eq!(
            early,
            Err(Unusable::Form("of a table that was not announced"))
        );
    }

    /// Where a word ends a run the column of the run need not be in the replica identity.
    #[test]
    fn a_row_that_does_not_say_of_which_run_it_is_is_told_as_such() {
        let messages = [
            relation(5, "runs", b'd', &COLUMNS),
            of(b'I', 5, &[b"N", &row(&[Some("7"), None, None])]),
            of(
                b'U',
                5,
                &[
                    b"K",
                    &row(&[Some("7"), None, None]),
                    b"N",
                    &row(&[Some("8"), Some("a"), None]),
                ],
            ),
            of(b'D', 5, &[b"K", &row(&[Some("8"), None, None])]),
        ];
        let found = |decoder: &mut Decoder, messages: &[Vec<u8>]| {
            let changes = decoded(decoder, messages).unwrap();
            let found = changes.into_iter().map(|change| (change.act, change.run));
            found.collect::<Vec<_>>()
        };
        // What is known of the row before is its key, which is not the run: the update is no removal.
        assert_eq!(
            found(&mut Decoder::new(by("status", false)), &messages),
            [
                (Act::Insert, None),
                (Act::Update, Some(b"a".to_vec())),
                (Act::Delete, None),
            ]
        );
        // With all columns in the identity it is the row itself that says nothing.
        let all = COLUMNS.map(|(column, _)| (column, true));
        let full = [
            relation(5, "runs", b'f', &all),
            of(b'D', 5, &[b"O", &row(&[Some("8"), None, None])]),
        ];
        assert_eq!(
            found(&mut Decoder::new(by("status", true)), &full),
            [(Act::Delete, None)]
        );
    }

    #[test]
    fn the_last_commit_is_known_whatever_it_changed() {
        let mut decoder = Decoder::new(followed());
        let messages = [
            begin(1_700_000_000_000_009),
            relation(6, "steps", b'd', &[("id", true)]),
            of(b'I', 6, &[b"N", &row(&[Some("1")])]),
        ];
        assert_eq!(decoded(&mut decoder, &messages).unwrap(), []);
        assert_eq!(decoder.committed(), 1_700_000_000_000_009);
    }

    /// Keys of two columns do not run into each other.
    #[test]
    fn keys_of_several_columns_keep_their_bounds() {
        let messages = [
            relation(5, "runs", b'd', &[("a", true), ("b", true)]),
            of(b'I', 5, &[b"N", &row(&[Some("1"), Some("23")])]),
            of(b'I', 5, &[b"N", &row(&[Some("12"), Some("3")])]),
        ];
        let of_two = Followed {
            table: 5,
            run: vec!["a".to_owned(), "b".to_owned()],
            kind: None,
            value: None,
            removals: true,
        };
        let changes = decoded(&mut Decoder::new(of_two), &messages).unwrap();
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
