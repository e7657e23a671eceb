//! Chat templates: how the makers of an instruction-tuned model wrap what is said to it.
//!
//! A template is a Jinja program that comes with the model. It is rendered as `apply_chat_template` of Transformers does
//! (`_compile_jinja_template` in chat_template_utils.py): blocks trimmed, `raise_exception`, `strftime_now`, `tojson`
//! without escapes for HTML, Python's methods on strings, `break` and `continue`. It comes from a stranger: its work
//! and its output have limits.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Steps that a template may take; every 64 bytes that it moves count as one more. Llama 3.2's takes some hundred.
const MAX_FUEL: u64 = 100_000;
/// Stack on which templates are read and rendered, in bytes. An expression such as `a ~ a ~ ...` as long as a template
/// may be, or lists within lists as deep as its fuel goes, are gone through by recursion and overflow a usual one.
const STACK_BYTES: usize = 256 << 20;
/// Most `~` signs in a template. A row of them is put together as often as it has parts when the template is read: 32,000
/// take most of a minute. Templates in use have some hundred.
const MAX_CONCATENATIONS: usize = 2000;
/// Longest output, in bytes.
const MAX_OUTPUT_BYTES: usize = 64 << 10;

/// What stands for the prompt when a template is looked at: nothing that a template would write itself.
const PROBE: &str = "q7 {probe} <of> & [the] prompt 7q";

/// A day of the calendar, for templates that tell the model the date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: u32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
}

/// The day that prompts name. It never changes, since the prompts of a run and of the classifier that it leaves must be
/// the same words; Llama 3.1's and 3.2's own templates name this one where they cannot ask for a date.
pub const PROMPT_DATE: Date = Date { year: 2024, month: 7, day: 26 };

/// A model's own chat template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
}

/// The words that a template puts around one message of the user, with the prompt for the model's answer behind it.
/// Names of special tokens in them are meant as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatWrapping {
    pub before: String,
    pub after: String,
    /// Takes white space off the beginning or the end of the message.
    pub trims_start: bool,
    pub trims_end: bool,
}

impl ChatTemplate {
    /// Longest template, in bytes. The longest in use have some 20,000.
    pub const MAX_BYTES: usize = 64 << 10;

    /// # Errors
    /// The template is too long or joins too much. Whether it is one is seen when it is used: models are used without it, too.
    pub fn new(source: String) -> Result<Self, String> {
        if source.len() > Self::MAX_BYTES {
            return Err(format!(
                "has a chat template of {} bytes; at most {} are accepted",
                source.len(),
                Self::MAX_BYTES
            ));
        }
        let concatenations = source.matches('~').count();
        if concatenations > MAX_CONCATENATIONS {
            return Err(format!(
                "has a chat template with {concatenations} signs ~; at most {MAX_CONCATENATIONS} are accepted"
            ));
        }
        Ok(Self { source })
    }

    /// The Jinja program.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the template puts around one message of the user, as `apply_chat_template` with `add_generation_prompt`.
    /// `names` are the special tokens by their roles (`bos_token`, ...).
    ///
    /// # Errors
    /// The template is no Jinja, refuses the message, takes too long, or does anything else with the message than to
    /// put words around it and to take white space off its ends.
    pub fn wrap(&self, names: &BTreeMap<String, String>, date: Date) -> Result<ChatWrapping, String> {
        std::thread::scope(|scope| {
            let with_stack = std::thread::Builder::new().stack_size(STACK_BYTES);
            let work = with_stack
                .spawn_scoped(scope, || self.wrap_here(names, date))
                .map_err(|error| format!("cannot be used: no thread for it can be started ({error})"))?;
            work.join().unwrap_or_else(|_| Err("cannot be used: it brings its reader to a fault".to_string()))
        })
    }

    fn wrap_here(&self, names: &BTreeMap<String, String>, date: Date) -> Result<ChatWrapping, String> {
        let plain = self.render(PROBE, names, date)?;
        let Some((before, after)) = plain.split_once(PROBE).filter(|(_, after)| !after.contains(PROBE)) else {
            return Err("does not show the user's message exactly once as it is".to_string());
        };
        let padded = self.render(&format!(" \n{PROBE}\n "), names, date)?;
        let between = padded.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let (trims_start, trims_end) = match between.and_then(|between| between.split_once(PROBE)) {
            Some((" \n", "\n ")) => (false, false),
            Some(("", "\n ")) => (true, false),
            Some((" \n", "")) => (false, true),
            Some(("", "")) => (true, true),
            _ => return Err("changes the user's message".to_string()),
        };
        Ok(ChatWrapping { before: before.to_string(), after: after.to_string(), trims_start, trims_end })
    }

    fn render(&self, message: &str, names: &BTreeMap<String, String>, date: Date) -> Result<String, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_fuel(Some(MAX_FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: String| date.format(&format));
        let unusable = |error: Error| format!("cannot be used: {}", in_words(&error));
        let template = environment.template_from_str(&self.source).map_err(unusable)?;
        let mut output = Bounded(Vec::new());
        let context = context! {
            messages => [context! { role => "user", content => message }],
            add_generation_prompt => true,
            tools => (),
            documents => (),
            ..minijinja::Value::from_pairs(names.iter().map(|(role, name)| (role.as_str(), name.as_str())))
        };
        template.render_captured_to(context, &mut output).map_err(unusable)?;
        String::from_utf8(output.0).map_err(|_| "writes what is no text".to_string())
    }
}

/// What went wrong and in which line of the template.
fn in_words(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let what = cause.or(error.detail().map(String::from)).unwrap_or_else(|| error.kind().to_string());
    let short: String = what.chars().take(300).collect();
    error.line().map_or_else(|| short.clone(), |line| format!("line {line}: {short}"))
}

/// Output up to [`MAX_OUTPUT_BYTES`].
struct Bounded(Vec<u8>);

impl std::io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(std::io::Error::other(format!("it writes more than {MAX_OUTPUT_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: minijinja::Value, options: Kwargs) -> Result<minijinja::Value, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    let value: Value = serde_json::to_value(&value).map_err(|error| bad(&error))?;
    let mut written = Vec::new();
    let result = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut written, PythonSpaces)),
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut written, formatter))
        }
    };
    result.map_err(|error| bad(&error))?;
    String::from_utf8(written).map(minijinja::Value::from).map_err(|error| bad(&error))
}

/// `", "` and `": "`, as Python separates.
struct PythonSpaces;

impl serde_json::ser::Formatter for PythonSpaces {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        self.begin_array_value(writer, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

impl Date {
    /// Python's `strftime` at midnight of that day, with the codes for days, months and years.
    fn format(self, format: &str) -> Result<String, Error> {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        let Self { year, month, day } = self;
        let month_name = MONTHS[(month as usize).saturating_sub(1) % 12];
        let weekday = DAYS[self.weekday()];
        let mut written = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                written.push(character);
                continue;
            }
            written += &match characters.next() {
                Some('Y') => format!("{year:04}"),
                Some('y') => format!("{:02}", year % 100),
                Some('m') => format!("{month:02}"),
                Some('d') => format!("{day:02}"),
                Some('B') => month_name.to_string(),
                Some('b' | 'h') => month_name[..3].to_string(),
                Some('A') => weekday.to_string(),
                Some('a') => weekday[..3].to_string(),
                Some('H' | 'M' | 'S') => "00".to_string(),
                Some('%') => "%".to_string(),
                code => {
                    let code = code.map(String::from).unwrap_or_default();
                    return Err(Error::new(ErrorKind::InvalidOperation, format!("the date code %{code} is not known")));
                }
            };
        }
        Ok(written)
    }

    /// Sakamoto's method; 0 is Sunday.
    fn weekday(self) -> usize {
        const OFFSETS: [u32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let year = if self.month < 3 { self.year.saturating_sub(1) } else { self.year };
        let offset = OFFSETS[(self.month as usize).saturating_sub(1) % 12];
        ((year + year / 4 - year / 100 + year / 400 + offset + self.day) % 7) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(source: &str) -> Result<ChatWrapping, String> {
        let names = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        ChatTemplate::new(source.to_string())?.wrap(&names, PROMPT_DATE)
    }

    #[test]
    fn the_words_around_a_message_are_found() {
        let wrapping = wrap(
            "{{ bos_token }}{% for message in messages %}\n\
             {{ '[' ~ message.role ~ ']' }}{{ message['content'] | trim }}{{ eos_token }}\n{% endfor %}\n\
             {%- if add_generation_prompt %}{{ '\\n>' }}{% endif %}",
        );
        let expected = ChatWrapping {
            before: "<s>[user]".to_string(),
            after: "\n\n>".to_string(),
            trims_start: true,
            trims_end: true,
        };
        assert_eq!(wrapping, Ok(expected));
        let wrapping = wrap("{{ messages[0].content.rstrip() }}|").unwrap();
        assert_eq!((wrapping.trims_start, wrapping.trims_end), (false, true));
    }

    #[test]
    fn what_templates_of_transformers_need_is_there() {
        let wrapping = wrap(
            "{%- if tools is not none %}{{ raise_exception('tools') }}{% endif -%}\n\
             {% set ns = namespace(seen=false) %}{% for m in messages %}{% if m.role == 'system' %}{% continue %}\
             {% endif %}{% set ns.seen = true %}{{ m.content }}{% break %}{% endfor %}\n\
             {{ strftime_now('%A, %d %b %Y') }} {{ {'a': [1, '<é>']} | tojson }} {{ 'a b'.split(' ')[1] }}\
             {{ 'x'.startswith('x') }}{{ ns.seen }}{{ messages[::-1][0].get('tool_calls') }}",
        );
        assert_eq!(wrapping.unwrap().after, "Friday, 26 Jul 2024 {\"a\": [1, \"<é>\"]} bTrueTrueNone",);
    }

    #[test]
    fn templates_that_do_harm_are_refused_in_words() {
        for (source, reason) in [
            ("{{ raise_exception('no messages for ' ~ messages[0].role) }}", "no messages for user"),
            ("{% for %}", "line 1"),
            ("nothing", "exactly once"),
            ("{{ messages[0].content }}{{ messages[0].content }}", "exactly once"),
            ("{{ messages[0].content | upper }}", "exactly once"),
            ("{{ messages[0].content | replace('\\n', ' ') }}", "changes"),
            ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "fuel"),
            ("{% for a in range(9999) %}0123456789{% endfor %}", "bytes"),
            ("{{ 'a' * 99999999 }}", "fuel"),
            ("{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "fuel"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ] {
            let error = wrap(source).unwrap_err();
            assert!(error.contains(reason), "{source}: {error}");
        }
    }

    #[test]
    fn templates_that_nest_without_end_do_not_overflow_the_stack() {
        let whole = ChatTemplate::MAX_BYTES - 100;
        for piece in ["(", "[", "{1:", "not ", "-", "a.b|c(", "1+", "a|e|", "a.", "a[0]", "1 if 1 else "] {
            let nested = piece.repeat(whole / piece.len());
            for source in [format!("{{{{{nested}}}}}"), format!("{{{{{nested}1}}}}"), format!("{{% set x={nested}1%}}")]
            {
                let _ = wrap(&source);
            }
        }
        let _ = wrap(&format!("{{{{{}1}}}}", "1~".repeat(MAX_CONCATENATIONS)));
        assert!(wrap(&format!("{{{{{}1}}}}", "1~".repeat(MAX_CONCATENATIONS + 1))).unwrap_err().contains("signs ~"));
        for piece in ["{%if 1%}", "{%for a in b%}", "{%if 1%}{%elif 1%}", "{%set a%}", "{%macro a()%}"] {
            let _ = wrap(&piece.repeat(whole / piece.len()));
        }
        let deep = "{% set n = namespace(x=[]) %}{% for a in range(99999) %}{% set n.x = [n.x] %}{% endfor %}";
        assert!(wrap(deep).unwrap_err().contains("fuel"));
        // As deep as the fuel lets them be, shown in every way there is.
        let deep = deep.replace("99999", "6000");
        for show in ["n.x", "n.x | tojson", "n.x == n.x", "n.x | string", "[n.x, n.x] | sort", "n.x | list | length"] {
            let _ = wrap(&format!("{deep}{{{{ {show} }}}}"));
        }
        assert!(ChatTemplate::new(" ".repeat(ChatTemplate::MAX_BYTES + 1)).is_err());
    }
}
