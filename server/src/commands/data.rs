//! `ayar data`: the data doctor from the command line.

mod check;
mod import;

use crate::arguments::{Usage, require_file};
use clap::{Args, Subcommand};
use domain::dataset::RejectedRow;
use domain::reading::{FileFormat, ReadWish, TextSource, UploadPreview};
use service::checkup::look_at_file;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct DataArguments {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Examine a file: what is wrong with its rows, why it matters, and what can be done
    Check(Box<check::CheckArguments>),
    /// Make a dataset of a file in the data folder, or a dataset's next version
    Import(Box<import::ImportArguments>),
}

pub fn data(arguments: DataArguments) -> anyhow::Result<()> {
    match arguments.command {
        DataCommand::Check(arguments) => check::check(&arguments),
        DataCommand::Import(arguments) => import::import(*arguments),
    }
}

// Shared by the commands that read a file; what is left out is detected.
#[derive(Args, Clone, Debug)]
pub struct ReadingArguments {
    /// CSV, TSV, JSON, JSON Lines, Parquet or Excel, also in gzip, zstd or zip
    file: PathBuf,
    /// Name or number (from 1) of the column that holds the texts
    #[arg(long, value_name = "COLUMN")]
    text_column: Option<String>,
    /// Texts over several columns, such as "{title} {body}"
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "text_column")]
    text_template: Option<String>,
    /// Name or number (from 1) of the column that holds the labels
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// Name or number (from 1) of the column that says train, validation or test
    #[arg(long, value_name = "COLUMN")]
    split_column: Option<String>,
    /// delimited, json_lines, json, parquet or excel
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<FileFormat>,
    /// Encoding, such as UTF-8, UTF-16LE or windows-1254
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Character between fields: , ; | or tab
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<char>,
    /// Character around fields: " ' or none
    #[arg(long, value_name = "CHARACTER", value_parser = quote)]
    quote: Option<Quote>,
    /// Whether the first row names the columns: yes or no
    #[arg(long, value_name = "YES-NO", value_parser = yes_or_no)]
    header: Option<bool>,
    /// File inside a zip archive
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Sheet of a workbook
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

/// The value of `--quote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quote(Option<char>);

impl ReadingArguments {
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// How the file is read, with the columns that were named found by their names.
    pub fn look(&self) -> anyhow::Result<(ReadWish, UploadPreview)> {
        require_file("FILE", &self.file)?;
        let mut wish = ReadWish {
            format: self.format,
            encoding: self.encoding.clone(),
            delimiter: self.delimiter,
            quote: self.quote.map(|quote| quote.0),
            has_header: self.header,
            member: self.member.clone(),
            sheet: self.sheet.clone(),
            text: self.text_template.clone().map(TextSource::Template),
            ..ReadWish::default()
        };
        let named = [&self.text_column, &self.label_column, &self.split_column];
        let preview = look_at_file(&self.file, &wish);
        if named.iter().all(|column| column.is_none()) {
            return Ok((wish, preview?));
        }
        // Names mean something only once the columns are known.
        let columns = preview?.columns;
        let find = |argument, column: &Option<String>| {
            column.as_ref().map(|name| place_of(argument, name, &columns)).transpose()
        };
        if let Some(column) = find("--text-column", &self.text_column)? {
            wish.text = Some(TextSource::Column(column));
        }
        wish.label_column = find("--label-column", &self.label_column)?;
        wish.split_column = find("--split-column", &self.split_column)?;
        let preview = look_at_file(&self.file, &wish)?;
        Ok((wish, preview))
    }
}

/// The column of that name, or of that number where none has it as its name.
fn place_of(argument: &str, name: &str, columns: &[String]) -> Result<usize, Usage> {
    let by_number =
        || name.parse::<usize>().ok().filter(|number| (1..=columns.len()).contains(number)).map(|number| number - 1);
    columns.iter().position(|column| column == name).or_else(by_number).ok_or_else(|| {
        let shown: Vec<&str> = columns.iter().take(20).map(String::as_str).collect();
        Usage(format!("{argument}: there is no column \"{name}\"; the file has {}.", shown.join(", ")))
    })
}

/// How the file was read, in one line.
pub fn reading_in_words(preview: &UploadPreview) -> String {
    let options = &preview.options;
    let column = |index: usize| format!("\"{}\"", preview.columns.get(index).map_or("", String::as_str));
    let mut facts = vec![options.format.title().to_string()];
    facts.extend(preview.compression.map(|compression| format!("in {}", compression.title())));
    facts.extend(options.member.as_ref().map(|member| format!("file {member}")));
    facts.extend(options.sheet.as_ref().map(|sheet| format!("sheet {sheet}")));
    facts.extend(preview.shape.clone());
    if options.format.is_text() {
        facts.push(options.encoding.clone());
    }
    if options.format == FileFormat::Delimited {
        facts.push(match options.delimiter {
            '\t' => "tabs between fields".to_string(),
            other => format!("\"{other}\" between fields"),
        });
    }
    facts.push(match &options.text {
        TextSource::Column(index) => format!("text {}", column(*index)),
        TextSource::Template(template) => format!("text {template:?}"),
    });
    facts.push(format!("label {}", column(options.label_column)));
    facts.extend(options.split_column.map(|index| format!("split {}", column(index))));
    facts.join(", ")
}

/// Rows that were left out, with their lines.
pub fn tell_rejected(rejected: &[RejectedRow], all: u64) {
    if all == 0 {
        return;
    }
    eprintln!("{all} rows cannot be used:");
    for row in rejected {
        eprintln!("  line {}: {}", row.line, row.reason);
    }
    if all > rejected.len() as u64 {
        eprintln!("  and {} more", all - rejected.len() as u64);
    }
}

fn format(word: &str) -> Result<FileFormat, String> {
    let known = || FileFormat::ALL.map(FileFormat::as_str).join(", ");
    FileFormat::parse(word).ok_or_else(|| format!("choose one of {}", known()))
}

fn delimiter(word: &str) -> Result<char, String> {
    match word {
        "tab" | "\\t" | "\t" => Ok('\t'),
        "," | ";" | "|" => Ok(word.chars().next().unwrap_or(',')),
        _ => Err("choose , ; | or tab".to_string()),
    }
}

fn quote(word: &str) -> Result<Quote, String> {
    match word {
        "none" => Ok(Quote(None)),
        "\"" => Ok(Quote(Some('"'))),
        "'" => Ok(Quote(Some('\''))),
        _ => Err("choose \" ' or none".to_string()),
    }
}

fn yes_or_no(word: &str) -> Result<bool, String> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("say yes or no".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_or_counted() {
        let columns = ["title", "2", "label"].map(String::from);
        assert_eq!(place_of("--text-column", "label", &columns).unwrap(), 2);
        assert_eq!(place_of("--text-column", "2", &columns).unwrap(), 1, "a name goes before a number");
        assert_eq!(place_of("--text-column", "1", &columns).unwrap(), 0);
        for missing in ["0", "4", "body"] {
            let error = place_of("--text-column", missing, &columns).unwrap_err();
            assert!(error.0.contains("title, 2, label"), "{error}");
        }
    }

    #[test]
    fn characters_are_written_as_people_write_them() {
        assert_eq!((delimiter("tab"), delimiter("\\t"), delimiter(";")), (Ok('\t'), Ok('\t'), Ok(';')));
        assert!(delimiter("x").is_err() && delimiter("").is_err());
        assert_eq!((quote("none"), quote("'")), (Ok(Quote(None)), Ok(Quote(Some('\'')))));
    }
}
