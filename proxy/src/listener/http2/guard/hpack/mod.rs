//! Reading HPACK (RFC 7541) without a header map: each field is shown once, where it stands.

pub(super) mod field;
#[cfg(test)]
pub(super) mod huffman;
#[cfg(not(test))]
mod huffman;
mod table;

use self::{
    field::{Field, Kind},
    table::{Entry, Table},
};

pub(super) use self::table::ENTRY_BYTES;

/// A block that is no HPACK: no later one of its connection can be read (RFC 9113 section 4.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Bytes of a string that are kept room for between blocks.
const KEPT_BYTES: usize = 4096;

/// What a peer's encoder has said so far.
#[derive(Default)]
pub(super) struct Decoder {
    table: Table,
    /// Strings that came in the Huffman code.
    plain: Vec<u8>,
}

/// A string as it came, or where it stands once decoded.
enum Text<'a> {
    Plain(&'a [u8]),
    Coded { start: usize, end: usize },
}

impl<'a> Text<'a> {
    fn of<'b>(&self, plain: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Plain(text) => text,
            Self::Coded { start, end } => &plain[start..end],
        }
    }
}

impl Decoder {
    /// Shows `each` field of a whole block, and says whether the block changed the table.
    pub(super) fn read(&mut self, block: &[u8], each: &mut impl FnMut(&Field<'_>)) -> Result<bool, Broken> {
        let mut input = Input(block);
        let mut changed = false;
        let mut may_resize = true;
        while let Some(&first) = input.0.first() {
            // RFC 7541 section 6, from the most frequent to the rarest.
            if first & 0x80 != 0 {
                each(&self.table.field(input.number(7)?)?);
            } else if first & 0x40 != 0 {
                changed = true;
                let entry = self.literal(&mut input, 6, |field| {
                    each(field);
                    Entry::new(field)
                })?;
                self.table.insert(entry);
            } else if first & 0x20 == 0 {
                self.literal(&mut input, 4, &mut *each)?;
            } else {
                if !may_resize {
                    return Err(Broken);
                }
                changed = true;
                self.table.resize(input.number(5)?)?;
                continue;
            }
            may_resize = false;
        }
        if self.plain.capacity() > KEPT_BYTES {
            self.plain = Vec::new();
        }
        Ok(changed)
    }

    fn literal<T>(
        &mut self,
        input: &mut Input<'_>,
        prefix_bits: u32,
        shown: impl FnOnce(&Field<'_>) -> T,
    ) -> Result<T, Broken> {
        let number = input.number(prefix_bits)?;
        self.plain.clear();
        let name = if number == 0 { Some(self.text(input)?) } else { None };
        let value = self.text(input)?;
        let value = value.of(&self.plain);
        let (kind, name) = match &name {
            Some(name) => {
                let name = name.of(&self.plain);
                (Kind::of(name), name)
            }
            None => self.table.name(number)?,
        };
        Ok(shown(&Field { kind: kind.with(value), name, value }))
    }

    fn text<'a>(&mut self, input: &mut Input<'a>) -> Result<Text<'a>, Broken> {
        let is_coded = input.0.first().is_some_and(|first| first & 0x80 != 0);
        let length = input.number(7)?;
        let (text, rest) = input.0.split_at_checked(length).ok_or(Broken)?;
        input.0 = rest;
        if !is_coded {
            return Ok(Text::Plain(text));
        }
        let start = self.plain.len();
        huffman::decode(text, &mut self.plain)?;
        Ok(Text::Coded { start, end: self.plain.len() })
    }
}

/// What is still to be read of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// A number whose first byte has so many bits of it (RFC 7541 section 5.1). Five bytes are as many as `h2` reads.
    fn number(&mut self, prefix_bits: u32) -> Result<usize, Broken> {
        let most = (1 << prefix_bits) - 1;
        let (&first, mut rest) = self.0.split_first().ok_or(Broken)?;
        let mut number = usize::from(first) & most;
        if number < most {
            self.0 = rest;
            return Ok(number);
        }
        for shift in [0, 7, 14, 21] {
            let (&byte, behind) = rest.split_first().ok_or(Broken)?;
            rest = behind;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.0 = rest;
                return Ok(number);
            }
        }
        Err(Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<(Vec<String>, bool), Broken> {
        let mut fields = Vec::new();
        let changed = decoder.read(block, &mut |field| {
            fields.push(format!("{}={}", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value)));
        })?;
        Ok((fields, changed))
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_requests_of_the_rfc_are_read() {
        // RFC 7541 appendix C.3 and C.4: without and with the Huffman code.
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::default();
            let mut fields = |block| read(&mut decoder, &unhex(block)).unwrap().0.join(" ");
            let pseudo = ":method=GET :scheme=http :path=/ :authority=www.example.com";
            assert_eq!(fields(blocks[0]), pseudo);
            assert_eq!(fields(blocks[1]), format!("{pseudo} cache-control=no-cache"));
            assert_eq!(
                fields(blocks[2]),
                ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value"
            );
        }
    }

    #[test]
    fn what_is_no_hpack_is_broken() {
        for block in
            ["80", "be", "ff8080808001", "ff", "40", "4001", "400161", "40016103", "8220", "3fe21f", "0001618101"]
        {
            assert_eq!(read(&mut Decoder::default(), &unhex(block)), Err(Broken), "{block}");
        }
        assert_eq!(read(&mut Decoder::default(), &unhex("3fe11f 82")), Ok((vec![":method=GET".into()], true)));
    }

    #[test]
    fn entries_leave_the_table_oldest_first() {
        let mut decoder = Decoder::default();
        let insert = |name: u8, bytes: usize| {
            let mut block = vec![0x40, 1, name, 0x7f];
            block.extend([((bytes - 127) & 0x7f) as u8 | 0x80, ((bytes - 127) >> 7) as u8]);
            block.extend(vec![b'v'; bytes]);
            block
        };
        for name in *b"abc" {
            assert!(read(&mut decoder, &insert(name, 1300)).unwrap().1);
        }
        assert!(read(&mut decoder, b"\xc0").unwrap().0[0].starts_with("a="));
        read(&mut decoder, &insert(b'd', 1300)).unwrap();
        assert!(read(&mut decoder, b"\xc0").unwrap().0[0].starts_with("b="));
        read(&mut decoder, &insert(b'e', 5000)).unwrap();
        assert_eq!(read(&mut decoder, b"\xbe"), Err(Broken), "one that is too large empties it");
    }
}
