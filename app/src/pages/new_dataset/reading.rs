use super::confirm::Draft;
use crate::api::import_form::{ImportForm, NO_QUOTE};
use crate::components::{Card, Field};
use crate::format;
use domain::reading::{FileFormat, UploadPreview};
use leptos::html;
use leptos::prelude::*;

/// The characters that may stand between fields.
const DELIMITERS: [(&str, &str); 4] = [(",", "Comma ,"), ("\t", "Tab"), (";", "Semicolon ;"), ("|", "Pipe |")];
/// The characters that may stand around fields.
const QUOTES: [(&str, &str); 3] = [("\"", "Double quotes \""), ("'", "Single quotes '"), (NO_QUOTE, "None")];
/// By their names in the WHATWG's list, as the server reads them.
const ENCODINGS: [(&str, &str); 14] = [
    ("UTF-8", "UTF-8"),
    ("UTF-16LE", "UTF-16, little-endian"),
    ("UTF-16BE", "UTF-16, big-endian"),
    ("windows-1252", "Western (windows-1252, Latin-1)"),
    ("windows-1254", "Turkish (windows-1254)"),
    ("windows-1250", "Central European (windows-1250)"),
    ("windows-1251", "Cyrillic (windows-1251)"),
    ("windows-1253", "Greek (windows-1253)"),
    ("ISO-8859-2", "Central European (ISO-8859-2)"),
    ("ISO-8859-15", "Western with € (ISO-8859-15)"),
    ("macintosh", "Western (Mac)"),
    ("GBK", "Chinese, simplified (GBK)"),
    ("Big5", "Chinese, traditional (Big5)"),
    ("Shift_JIS", "Japanese (Shift_JIS)"),
];

/// What was detected, from the outside of the file to its fields. Each is a choice that reads the file again.
#[component]
pub fn HowItIsRead(draft: Draft, is_scripted: RwSignal<bool>) -> impl IntoView {
    let facts = move || facts(&draft.preview.read());
    let format = Memo::new(move |_| draft.preview.read().options.format);
    let members = Memo::new(move |_| draft.preview.read().members.clone());
    let sheets = Memo::new(move |_| draft.preview.read().sheets.clone());
    view! {
        <Card title="How the file is read">
            <div class="stack">
                <p class="card-note file-facts">{facts}</p>
                <div class="grid-3">
                    <Show when=move || { members.read().len() > 1 }>
                        <Choice
                            draft
                            field="member"
                            label="File in the archive"
                            options=Signal::derive(move || same_words(&members.read()))
                            chosen=Signal::derive(move || draft.preview.read().options.member.clone().unwrap_or_default())
                        />
                    </Show>
                    <Choice
                        draft
                        field="format"
                        label="Format"
                        options=Signal::stored(
                            FileFormat::ALL
                                .map(|format| (format.as_str().to_string(), format.title().to_string()))
                                .to_vec(),
                        )
                        chosen=Signal::derive(move || format.get().as_str().to_string())
                    />
                    <Show when=move || !sheets.read().is_empty()>
                        <Choice
                            draft
                            field="sheet"
                            label="Sheet"
                            options=Signal::derive(move || same_words(&sheets.read()))
                            chosen=Signal::derive(move || draft.preview.read().options.sheet.clone().unwrap_or_default())
                        />
                    </Show>
                    <Show when=move || format.get().is_text()>
                        <Choice
                            draft
                            field="encoding"
                            label="Encoding"
                            help="Wrong? Then letters such as ä or ğ are."
                            options=Signal::derive(move || encodings(&draft.preview.read().options.encoding))
                            chosen=Signal::derive(move || draft.preview.read().options.encoding.clone())
                        />
                    </Show>
                    <Show when=move || format.get() == FileFormat::Delimited>
                        <Choice
                            draft
                            field="delimiter"
                            label="Between fields"
                            help="Wrong? Then everything stands in one column."
                            options=Signal::stored(owned(&DELIMITERS))
                            chosen=Signal::derive(move || draft.preview.read().options.delimiter.to_string())
                        />
                        <Choice
                            draft
                            field="quote"
                            label="Around fields"
                            options=Signal::stored(owned(&QUOTES))
                            chosen=Signal::derive(move || {
                                draft.preview.read().options.quote.map_or(NO_QUOTE.to_string(), String::from)
                            })
                        />
                    </Show>
                    <Show when=move || format.get().may_lack_header()>
                        <Choice
                            draft
                            field="header"
                            label="First row"
                            options=Signal::stored(owned(&[("yes", "Names the columns"), ("no", "Is data already")]))
                            chosen=Signal::derive(move || {
                                if draft.preview.read().options.has_header { "yes" } else { "no" }.to_string()
                            })
                        />
                    </Show>
                </div>
                // Without the script: the same form, sent back to this page, which reads the file again.
                <div hidden=is_scripted>
                    <button class="button" type="submit" formmethod="get" formaction="/datasets/new" formnovalidate>
                        "Read again"
                    </button>
                </div>
            </div>
        </Card>
    }
    .into_any()
}

/// A file that could not be read as it was detected: what can be said of it in a plain form, which asks for the page
/// anew.
#[component]
pub fn ReadOtherwise(form: ImportForm) -> impl IntoView {
    let formats = FileFormat::ALL.map(|format| (format.as_str(), format.title()));
    view! {
        <form method="get" action="/datasets/new" class="stack read-otherwise" aria-label="Read it in another way">
            <input type="hidden" name="upload" value=form.get("upload").to_string() />
            <div class="grid-3">
                <PlainChoice field="format" label="Format" options=formats.to_vec() chosen=form.get("format").to_string() />
                <PlainChoice
                    field="encoding"
                    label="Encoding"
                    options=ENCODINGS.to_vec()
                    chosen=form.get("encoding").to_string()
                />
                <PlainChoice
                    field="delimiter"
                    label="Between fields"
                    options=DELIMITERS.to_vec()
                    chosen=form.get("delimiter").to_string()
                />
                <PlainChoice field="quote" label="Around fields" options=QUOTES.to_vec() chosen=form.get("quote").to_string() />
                <Field label="Sheet" id="sheet" help="Of a workbook, if not the first with a table.">
                    <input
                        class="input"
                        id="sheet"
                        name="sheet"
                        maxlength="100"
                        aria-describedby="sheet-help"
                        value=form.get("sheet").to_string()
                    />
                </Field>
            </div>
            <div>
                <button class="button" type="submit">
                    "Read it this way"
                </button>
            </div>
        </form>
    }
    .into_any()
}

#[component]
fn PlainChoice(
    field: &'static str,
    label: &'static str,
    options: Vec<(&'static str, &'static str)>,
    chosen: String,
) -> impl IntoView {
    let options = options
        .into_iter()
        .map(|(value, words)| view! { <option value=value selected=value == chosen>{words}</option> })
        .collect_view();
    view! {
        <Field label id=field>
            <select class="select" id=field name=field>
                <option value="">"As detected"</option>
                {options}
            </select>
        </Field>
    }
    .into_any()
}

/// Name, size, wrapping and shape.
fn facts(preview: &UploadPreview) -> String {
    let mut facts = vec![preview.file_name.clone(), format::bytes(preview.bytes as f64)];
    facts.extend(preview.compression.map(|compression| format!("packed with {}", compression.title())));
    if let ([member], Some(_)) = (preview.members.as_slice(), preview.compression) {
        facts.push(member.clone());
    }
    facts.extend(preview.shape.clone());
    facts.push(format::counted(preview.columns.len() as u64, "column", "columns"));
    facts.join(" · ")
}

fn owned(options: &[(&str, &str)]) -> Vec<(String, String)> {
    options.iter().map(|(value, words)| (value.to_string(), words.to_string())).collect()
}

fn same_words(words: &[String]) -> Vec<(String, String)> {
    words.iter().map(|word| (word.clone(), word.clone())).collect()
}

/// The usual ones, and the detected one where it is another.
fn encodings(detected: &str) -> Vec<(String, String)> {
    let mut options = owned(&ENCODINGS);
    if !detected.is_empty() && !options.iter().any(|(value, _)| value == detected) {
        options.insert(0, (detected.to_string(), detected.to_string()));
    }
    options
}

/// A choice that reads the file again. What is chosen is what the last reading came to.
#[component]
pub fn Choice(
    draft: Draft,
    field: &'static str,
    label: &'static str,
    #[prop(optional, into)] help: Option<String>,
    /// Values and their words.
    #[prop(into)]
    options: Signal<Vec<(String, String)>>,
    #[prop(into)] chosen: Signal<String>,
    #[prop(optional, into)] error: Signal<Option<String>>,
) -> impl IntoView {
    let rendered = move || {
        let chosen = chosen.get();
        options
            .get()
            .into_iter()
            .map(|(value, words)| {
                let selected = value == chosen;
                view! {
                    <option value=value selected=selected>
                        {words}
                    </option>
                }
            })
            .collect_view()
    };
    let select = NodeRef::<html::Select>::new();
    // What was chosen may have been refused, and the reading that follows be the one from before: then no signal moves,
    // but the element still shows the choice.
    Effect::new(move |_| {
        let chosen = chosen.get();
        if let Some(select) = select.get()
            && draft.is_read()
        {
            select.set_value(&chosen);
        }
    });
    view! {
        <Field label id=field help=help.unwrap_or_default() error>
            <select
                class="select"
                node_ref=select
                id=field
                name=format!("form[{field}]")
                aria-describedby=format!("{field}-help {field}-error")
                prop:value=chosen
                on:change:target=move |event| draft.choose(field, event.target().value())
            >
                {rendered}
            </select>
        </Field>
    }
    .into_any()
}
