use crate::api::datasets::{ImportDataset, preview_address, preview_upload};
use crate::components::{Button, ButtonKind, ButtonLink, Card, ErrorNotice, Field, Loading, TableScroll};
use crate::format;
use domain::dataset::UploadPreview;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};

/// The characters that may stand between fields.
const DELIMITERS: [(char, &str); 4] = [(',', "Comma ,"), ('\t', "Tab"), (';', "Semicolon ;"), ('|', "Pipe |")];

/// The second step: the first rows as they were understood, and a form to correct and confirm that.
#[component]
pub fn Confirm(upload: String) -> impl IntoView {
    let query = use_query_map();
    let delimiter = Memo::new(move |_| query.read().get("delimiter").and_then(|words| words.chars().next()));
    let import = ServerAction::<ImportDataset>::new();
    let name = upload.clone();
    let preview = Resource::new_blocking(
        move || (name.clone(), delimiter.get()),
        |(upload, delimiter)| preview_upload(upload, delimiter),
    );
    let guessed = preview_address(&upload, None);
    view! {
        <Transition fallback=|| view! { <Loading what="the preview" /> }>
            {move || {
                let guessed = guessed.clone();
                preview
                    .get()
                    .map(|preview| match preview {
                        Ok(preview) => view! { <ConfirmForm preview import /> }.into_any(),
                        Err(error) => {
                            view! {
                                <ErrorNotice error>
                                    {delimiter
                                        .get()
                                        .map(|_| view! { <ButtonLink href=guessed>"Read it as guessed"</ButtonLink> })}
                                    <ButtonLink href="/datasets/new">"Upload another file"</ButtonLink>
                                </ErrorNotice>
                            }
                                .into_any()
                        }
                    })
            }}
        </Transition>
    }
}

#[component]
fn ConfirmForm(preview: UploadPreview, import: ServerAction<ImportDataset>) -> impl IntoView {
    let query = use_query_map();
    // What was typed before a plain form came back, else what was guessed.
    let typed = move |field: &str| query.read_untracked().get(field).filter(|words| !words.is_empty());
    let columns = preview.columns.len();
    let column = move |field: &str, guess: usize| {
        typed(field).and_then(|words| words.parse().ok()).filter(|column| *column < columns).unwrap_or(guess)
    };
    let (text, label) =
        (column("text_column", preview.proposal.text_column), column("label_column", preview.proposal.label_column));
    // One column for both cannot have been meant; it comes about when the columns change with what is between them.
    let (text, label) =
        if text == label { (preview.proposal.text_column, preview.proposal.label_column) } else { (text, label) };
    let (text_column, label_column) = (RwSignal::new(text), RwSignal::new(label));
    let name = RwSignal::new(typed("name").unwrap_or_else(|| name_of_file(&preview.file_name)));
    let is_scripted = RwSignal::new(false);
    Effect::new(move |_| is_scripted.set(true));

    let navigate = use_navigate();
    let upload = preview.upload.clone();
    let read_again = move |words: String| {
        let options = NavigateOptions { replace: true, scroll: false, ..Default::default() };
        navigate(&preview_address(&upload, words.chars().next()), options);
    };
    let same_column = move || {
        (text_column.get() == label_column.get()).then(|| "Text and label must be different columns.".to_string())
    };
    let facts = format!("{} · {} · {}", preview.file_name, format::bytes(preview.bytes as f64), preview.encoding);
    let (text_columns, label_columns) = (preview.columns.clone(), preview.columns.clone());
    let delimiters = DELIMITERS
        .into_iter()
        .map(|(delimiter, words)| {
            view! {
                <option value=delimiter.to_string() selected=delimiter == preview.proposal.delimiter>
                    {words}
                </option>
            }
        })
        .collect_view();

    view! {
        <ActionForm action=import attr:class="stack-loose">
            <input type="hidden" name="upload" value=preview.upload.clone() />
            <Card title="Columns" note=facts>
                <div class="grid-3">
                    <Field label="Text" id="text_column" help="What the classifier reads.">
                        <ColumnSelect id="text_column" columns=text_columns chosen=text_column />
                    </Field>
                    <Field
                        label="Label"
                        id="label_column"
                        help="What it should answer."
                        error=Signal::derive(same_column)
                    >
                        <ColumnSelect id="label_column" columns=label_columns chosen=label_column />
                    </Field>
                    <Field label="Between fields" id="delimiter" help="Wrong? Then everything stands in one column.">
                        <div class="with-button">
                            <select
                                class="select"
                                id="delimiter"
                                name="delimiter"
                                aria-describedby="delimiter-help"
                                on:change:target=move |event| read_again(event.target().value())
                            >
                                {delimiters}
                            </select>
                            // Without the script: the same form, sent back to this page, which reads the file again.
                            <span hidden=is_scripted>
                                <button class="button" type="submit" formmethod="get" formaction="/datasets/new">
                                    "Read again"
                                </button>
                            </span>
                        </div>
                    </Field>
                </div>
            </Card>
            <PreviewTable preview text_column label_column />
            <Card>
                <div class="import-bar">
                    <Field label="Name of the dataset" id="name">
                        <input
                            class="input"
                            type="text"
                            id="name"
                            name="name"
                            required
                            maxlength="120"
                            value=name.get_untracked()
                            on:input:target=move |event| name.set(event.target().value())
                        />
                    </Field>
                    <Button
                        kind=ButtonKind::Primary
                        type_="submit"
                        pending=import.pending()
                        disabled=Signal::derive(move || is_scripted.get() && same_column().is_some())
                    >
                        {move || if import.pending().get() { "Importing…" } else { "Import" }}
                    </Button>
                </div>
                {move || import.value().get().and_then(Result::err).map(|error| view! { <ErrorNotice error /> })}
            </Card>
        </ActionForm>
    }
}

#[component]
fn ColumnSelect(id: &'static str, columns: Vec<String>, chosen: RwSignal<usize>) -> impl IntoView {
    let options = columns
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            view! {
                <option value=index.to_string() selected=index == chosen.get_untracked()>
                    {column_name(index, &name)}
                </option>
            }
        })
        .collect_view();
    view! {
        <select
            class="select"
            id=id
            name=id
            aria-describedby=format!("{id}-help {id}-error")
            on:change:target=move |event| {
                if let Ok(index) = event.target().value().parse() {
                    chosen.set(index);
                }
            }
        >
            {options}
        </select>
    }
}

#[component]
fn PreviewTable(preview: UploadPreview, text_column: RwSignal<usize>, label_column: RwSignal<usize>) -> impl IntoView {
    let part = move |index: usize| match index {
        index if index == text_column.get() => Some("text"),
        index if index == label_column.get() => Some("label"),
        _ => None,
    };
    let class = move |index: usize| match part(index) {
        Some("text") => "preview-cell is-text",
        Some(_) => "preview-cell is-label",
        None => "preview-cell",
    };
    let head = preview
        .columns
        .iter()
        .enumerate()
        .map(|(index, name)| {
            view! {
                <th scope="col" class=move || class(index)>
                    {column_name(index, name)}
                    {move || part(index).map(|part| view! { <span class="preview-part">{part}</span> })}
                </th>
            }
        })
        .collect_view();
    let rows = preview
        .rows
        .into_iter()
        .map(|row| {
            let cells = row
                .into_iter()
                .enumerate()
                .map(|(index, field)| view! { <td class=move || class(index)>{field}</td> })
                .collect_view();
            view! { <tr>{cells}</tr> }
        })
        .collect_view();
    view! {
        <Card title="First rows">
            <TableScroll label="First rows of the file">
                <table class="table preview-table">
                    <thead>
                        <tr>{head}</tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </Card>
    }
}

fn column_name(index: usize, name: &str) -> String {
    if name.trim().is_empty() { format!("Column {}", index + 1) } else { name.to_string() }
}

/// `Headlines 2024` from `Headlines 2024.csv`.
fn name_of_file(file_name: &str) -> String {
    let name = file_name.rsplit_once('.').map_or(file_name, |(name, _)| name).trim();
    name.chars().take(120).collect()
}
