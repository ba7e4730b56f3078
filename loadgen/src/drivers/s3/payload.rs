//! What a request carries: first bytes of its own and a part of what many share, without a copy of either. (Pure.)

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The room for bytes of its own, such as the number of an operation.
pub const OWN: usize = 21;

/// A body, consumed as it is sent. Cloning it copies no more than [`OWN`] bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    own: [u8; OWN],
    /// How much of `own` is none of the body, or sent already.
    gone: usize,
    shared: Bytes,
}

impl Payload {
    /// The last `length` of its `own` bytes, [`OWN`] at most, and after them those that it shares.
    #[must_use]
    pub fn new(own: [u8; OWN], length: usize, shared: Bytes) -> Self {
        Self {
            own,
            gone: OWN.saturating_sub(length),
            shared,
        }
    }

    /// Both parts; either may be empty.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.own.get(self.gone..).unwrap_or_default(), &self.shared]
    }
}

impl Default for Payload {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for Payload {
    fn from(shared: Bytes) -> Self {
        Self::new([0; OWN], 0, shared)
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    fn chunk(&self) -> &[u8] {
        let [own, shared] = self.parts();
        if own.is_empty() { shared } else { own }
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts().into_iter().filter(|part| !part.is_empty());
        let mut filled = 0;
        for (slot, part) in to.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        let own = count.min(OWN - self.gone);
        self.gone += own;
        self.shared.advance(count - own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_bytes_of_its_own_it_is_what_it_shares() {
        assert!(!Payload::default().has_remaining());
        let shared = Payload::from(Bytes::from_static(b"shared"));
        assert_eq!(shared.parts(), [&b""[..], b"shared"]);
    }

    proptest! {
        /// However it is cut while it is sent, it is the same bytes.
        #[test]
        fn it_is_sent_whole(length in 0..=OWN, shared in proptest::collection::vec(any::<u8>(), 0..60), step in 1_usize..9) {
            let own: [u8; OWN] = std::array::from_fn(|i| u8::try_from(i).unwrap());
            let mut wanted = own[OWN - length..].to_vec();
            wanted.extend_from_slice(&shared);
            let mut payload = Payload::new(own, length, Bytes::from(shared));
            prop_assert_eq!(&payload.parts().concat(), &wanted);

            let mut slices = [IoSlice::new(&[]); 3];
            let filled = payload.chunks_vectored(&mut slices);
            let vectored: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
            prop_assert_eq!(&vectored, &wanted);

            let mut sent = Vec::new();
            while payload.has_remaining() {
                prop_assert_eq!(payload.remaining(), wanted.len() - sent.len());
                let chunk = payload.chunk();
                let some = step.min(chunk.len());
                sent.extend_from_slice(&chunk[..some]);
                payload.advance(some);
            }
            prop_assert_eq!(sent, wanted);
        }
    }
}
