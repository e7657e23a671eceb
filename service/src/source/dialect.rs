//! The delimiter and the quote of a file of delimited rows: those that make the most even table of its beginning.

use super::container::Container;
use super::decoded::Decoded;
use super::delimited::{DelimitedRecords, Dialect};
use super::fields::Fields;
use crate::error::Result;
use domain::dataset::RejectedRow;
use domain::error::UserError;
use encoding_rs::Encoding;

pub const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];
/// Apostrophes last: a file where they take nothing off is one where they do not quote.
const QUOTES: [Option<char>; 3] = [Some('"'), None, Some('\'')];
/// Records that dialects are compared by, and bytes of them.
const COMPARED_RECORDS: usize = 500;
const COMPARED_BYTES: usize = 1 << 20;

/// What a person has chosen already.
#[derive(Clone, Copy, Default)]
pub struct Chosen {
    pub delimiter: Option<char>,
    pub quote: Option<Option<char>>,
}

/// The dialect as the reader takes it.
///
/// # Errors
/// Characters that are not among those that are known.
pub fn checked(delimiter: char, quote: Option<char>) -> Result<Dialect> {
    if !DELIMITERS.contains(&delimiter) {
        return Err(UserError::invalid(
            "The character between fields must be a comma, a tab, a semicolon or a pipe (|).",
        )
        .into());
    }
    if !QUOTES.contains(&quote) {
        return Err(UserError::invalid("The character around fields must be \" or ', or none.").into());
    }
    Ok(Dialect { delimiter: delimiter as u8, quote: quote.map(|quote| quote as u8) })
}

/// The likeliest dialect of those that `chosen` leaves.
///
/// # Errors
/// There is one column under all of them, and none was chosen.
pub fn likeliest(container: &Container, encoding: &'static Encoding, chosen: Chosen) -> Result<(char, Option<char>)> {
    let mut best: Option<(f64, (char, Option<char>))> = None;
    let mut problem = None;
    // What the table is worth where nothing quotes: apostrophes that take nothing off are not better than that.
    let mut unquoted = f64::INFINITY;
    for delimiter in chosen.delimiter.map_or(DELIMITERS.to_vec(), |delimiter| vec![delimiter]) {
        for quote in chosen.quote.map_or(QUOTES.to_vec(), |quote| vec![quote]) {
            let Beginning { rows, first_problem } = beginning(container, encoding, checked(delimiter, quote)?)?;
            problem = problem.or(first_problem);
            let score = evenness(&rows, quote);
            // Among equally even tables the first of the list wins: it is the more usual one. That nothing quotes must
            // be worth it: a stray quote costs a row, and quotes that are not taken for such cost every row with one.
            let margin = if quote.is_none() { 0.1 } else { 1e-9 };
            match quote {
                None => unquoted = score,
                Some('\'') if chosen.quote.is_none() && score <= unquoted + 1e-9 => continue,
                Some(_) => {}
            }
            if rows.first().is_some_and(|row| row.len() > 1) && best.is_none_or(|(best, _)| score > best + margin) {
                best = Some((score, (delimiter, quote)));
            }
        }
    }
    if let (None, Some(delimiter)) = (best, chosen.delimiter) {
        return Ok((delimiter, chosen.quote.unwrap_or(Some('"'))));
    }
    let Some((_, dialect)) = best else {
        if let Some(RejectedRow { line, reason, .. }) = problem {
            return Err(UserError::invalid(format!("The first row cannot be read: line {line}, {reason}.")).into());
        }
        return Err(UserError::invalid(
            "The file has one column only. A text and its label are needed on every row, separated by a comma, a tab, a \
             semicolon or a pipe (|), under a header that names the columns.",
        )
        .into());
    };
    Ok(dialect)
}

/// The first records under a dialect.
pub struct Beginning {
    /// Of one that could not be read, a record without fields.
    pub rows: Vec<Fields>,
    /// Why the first one could not be read.
    first_problem: Option<RejectedRow>,
}

pub fn beginning(container: &Container, encoding: &'static Encoding, dialect: Dialect) -> Result<Beginning> {
    let mut records = DelimitedRecords::new(Decoded::new(container.stream()?, encoding), dialect);
    let (mut rows, mut bytes, mut first_problem) = (Vec::new(), 0, None);
    while rows.len() < COMPARED_RECORDS && bytes < COMPARED_BYTES {
        match records.next_record()? {
            Some(Ok(_)) => rows.push(records.fields().clone()),
            Some(Err(rejected)) => {
                first_problem = first_problem.or(rows.is_empty().then_some(rejected));
                rows.push(Fields::default());
            }
            None => break,
        }
        bytes += records.fields().bytes();
    }
    Ok(Beginning { rows, first_problem })
}

/// Share of the rows below the first that have as many fields as it, less the share of fields that keep quotes around
/// them, which the right quote would have taken off.
fn evenness(rows: &[Fields], quote: Option<char>) -> f64 {
    let Some((first, below)) = rows.split_first() else { return 0.0 };
    let even = below.iter().filter(|row| row.len() == first.len()).count();
    let mut fields = 0_usize;
    let mut left = 0_usize;
    for field in rows.iter().flat_map(Fields::iter).map(str::trim) {
        fields += 1;
        let is_in = |mark: char| field.len() > 1 && field.starts_with(mark) && field.ends_with(mark);
        left += usize::from(['"', '\''].into_iter().any(|mark| quote != Some(mark) && is_in(mark)));
    }
    even as f64 / below.len().max(1) as f64 - 0.5 * left as f64 / fields.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::UTF_8;
    use std::io::Write;

    fn found(text: &str, chosen: Chosen) -> Result<(char, Option<char>)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        likeliest(&Container::open(file.path(), None).unwrap(), UTF_8, chosen)
    }

    #[test]
    fn delimiter_and_quote_are_found() {
        for (text, delimiter, quote) in [
            ("text,label\nlong words here,pos\nother words,neg\nmore words,pos\n", ',', Some('"')),
            ("sentiment\theadline\npos\tProfit, revenue rose\nneg\tLoss, again\npos\tUp; up\n", '\t', Some('"')),
            ("id;body;kind\n1;Some text, with a comma;a\n2;Another text;b\n3;A third;a\n4;And on;b\n", ';', Some('"')),
            ("a|b\nsome long text|x\nanother long text|y\na third long text|x\n", '|', Some('"')),
            ("text,label\n'one, two','a'\n'it''s','b'\n'three, four','a'\n", ',', Some('\'')),
            // Apostrophes are no quotes.
            ("text,label\n'tis so,a\nit's,b\n'twas,a\n", ',', Some('"')),
            ("text\tlabel\n\"open inches\ta\n5\" wide\tb\n\"again\ta\n\"and\tb\n", '\t', None),
        ] {
            assert_eq!(found(text, Chosen::default()).unwrap(), (delimiter, quote), "{text}");
        }
    }

    #[test]
    fn one_column_is_no_table_unless_somebody_says_so() {
        let error = found("text\njust words\n", Chosen::default()).unwrap_err();
        assert!(error.to_string().contains("one column"), "{error}");
        let chosen = Chosen { delimiter: Some(';'), quote: None };
        assert_eq!(found("text\njust words\n", chosen).unwrap(), (';', Some('"')));
        assert!(found("a,b\n", Chosen { delimiter: Some('x'), quote: None }).is_err());
        assert!(found("a,b\n", Chosen { delimiter: None, quote: Some(Some('x')) }).is_err());
    }
}
