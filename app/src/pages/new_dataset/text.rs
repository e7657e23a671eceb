use super::confirm::Draft;
use super::reading::Choice;
use super::rows::column_name;
use crate::api::import_form::NO_SPLIT;
use crate::components::{Card, Field};
use domain::reading::TextSource;
use leptos::html;
use leptos::prelude::*;

/// Columns that are offered as chips; a wider table is typed by name.
const MOST_CHIPS: usize = 40;

/// Which column, or which columns together, the classifier reads, and which one it learns to answer.
#[component]
pub fn TextAndLabel(draft: Draft) -> impl IntoView {
    let columns = Memo::new(move |_| {
        let preview = draft.preview.read();
        let named = preview.columns.iter().enumerate();
        named.map(|(index, name)| (index.to_string(), column_name(index, name))).collect::<Vec<_>>()
    });
    let text_column = Memo::new(move |_| match draft.preview.read().options.text {
        TextSource::Column(column) => column,
        TextSource::Template(_) => 0,
    });
    let label_column = Memo::new(move |_| draft.preview.read().options.label_column);
    let split_column = Memo::new(move |_| match draft.form.read().get("split_column") {
        NO_SPLIT => None,
        _ => draft.preview.read().options.split_column,
    });
    let splits = Signal::derive(move || {
        let mut options = vec![(NO_SPLIT.to_string(), "None: rows are dealt by the run".to_string())];
        options.extend(columns.get());
        options
    });
    let same_column =
        Signal::derive(move || is_same_column(draft).then(|| "Text and label must be different columns.".to_string()));
    view! {
        <Card title="Text and label">
            <div class="stack text-source">
                <fieldset class="segmented">
                    <legend class="visually-hidden">"Where the text stands"</legend>
                    <Way draft way="column" words="Text in one column" />
                    <Way draft way="template" words="Text over several columns" />
                </fieldset>
                <div class="grid-3">
                    <div class="text-one-column">
                        <Choice
                            draft
                            field="text_column"
                            label="Text"
                            help="What the classifier reads."
                            options=columns
                            chosen=Signal::derive(move || text_column.get().to_string())
                        />
                    </div>
                    <Choice
                        draft
                        field="label_column"
                        label="Label"
                        help="What it should answer."
                        options=columns
                        chosen=Signal::derive(move || label_column.get().to_string())
                        error=same_column
                    />
                    <Choice
                        draft
                        field="split_column"
                        label="Split"
                        help="A column that says train, validation or test."
                        options=splits
                        chosen=Signal::derive(move || {
                            split_column.get().map_or(NO_SPLIT.to_string(), |column| column.to_string())
                        })
                    />
                </div>
                <div class="text-several-columns">
                    <Template draft />
                </div>
                <Show when=move || is_template(draft)>
                    <Texts draft />
                </Show>
            </div>
        </Card>
    }
    .into_any()
}

/// Whether one column is chosen for both, which cannot have been meant.
pub fn is_same_column(draft: Draft) -> bool {
    let preview = draft.preview.read();
    preview.options.text == TextSource::Column(preview.options.label_column)
}

/// What the person has chosen, else what was detected: a template that is being written is empty for a moment.
fn is_template(draft: Draft) -> bool {
    match draft.form.read().get("text") {
        "template" => true,
        "column" => false,
        _ => matches!(draft.preview.read().options.text, TextSource::Template(_)),
    }
}

#[component]
fn Way(draft: Draft, way: &'static str, words: &'static str) -> impl IntoView {
    let chosen = move || is_template(draft) == (way == "template");
    let choose = move |_| {
        // A template to begin with: the text column alone.
        let needs_template = way == "template" && draft.form.read_untracked().get("template").is_empty();
        if needs_template {
            let template = draft.preview.with_untracked(|preview| match &preview.options.text {
                TextSource::Template(template) => template.clone(),
                TextSource::Column(column) => {
                    preview.columns.get(*column).map(|name| placeholder(name)).unwrap_or_default()
                }
            });
            draft.form.update(|form| form.set("template", template));
        }
        draft.choose("text", way.to_string());
    };
    view! {
        <label class="segment">
            <input type="radio" name="form[text]" value=way checked=chosen prop:checked=chosen on:change=choose />
            <span>{words}</span>
        </label>
    }
    .into_any()
}

/// The words around the columns, and a chip for each column that puts it where the cursor is.
#[component]
fn Template(draft: Draft) -> impl IntoView {
    let area = NodeRef::<html::Textarea>::new();
    let words = Memo::new(move |_| {
        let form = draft.form.read();
        match &draft.preview.read().options.text {
            TextSource::Template(template) if form.get("text") != "template" => template.clone(),
            _ => form.get("template").to_string(),
        }
    });
    let write = move |words: String| {
        draft.form.update(|form| form.set("text", "template"));
        draft.type_in("template", words);
    };
    let insert = move |name: String| {
        let Some(area) = area.get_untracked() else { return };
        let typed = area.value();
        let position = |at: Result<Option<u32>, _>| at.ok().flatten().map(|at| at as usize);
        let start = position(area.selection_start()).unwrap_or(typed.len());
        let end = position(area.selection_end()).unwrap_or(start);
        let (joined, cursor) = replaced(&typed, start, end, &placeholder(&name));
        area.set_value(&joined);
        let _ = area.set_selection_range(cursor, cursor);
        let _ = area.focus();
        write(joined);
    };
    let chips = move || {
        let preview = draft.preview.read();
        let named = preview.columns.iter().take(MOST_CHIPS).filter(|name| !name.trim().is_empty()).cloned();
        named
            .map(|name| {
                let words = name.clone();
                view! {
                    <button type="button" class="chip mono" on:click=move |_| insert(name.clone())>
                        {words}
                    </button>
                }
            })
            .collect_view()
    };
    view! {
        <Field
            label="Template"
            id="template"
            help="A column's name in braces is replaced by its field, such as {title}. Everything else stays as it is."
        >
            <textarea
                class="textarea mono"
                id="template"
                name="form[template]"
                rows="3"
                spellcheck="false"
                maxlength="4000"
                aria-describedby="template-help"
                node_ref=area
                prop:value=words
                on:input:target=move |event| write(event.target().value())
            >
                {words.get_untracked()}
            </textarea>
        </Field>
        <div class="chips" role="group" aria-label="Insert a column">
            {chips}
        </div>
    }
    .into_any()
}

/// How the first texts come out.
#[component]
fn Texts(draft: Draft) -> impl IntoView {
    let texts = move || {
        let preview = draft.preview.read();
        let shown = preview.texts.iter().take(3).cloned();
        shown.map(|text| view! { <li class="text-sample">{text}</li> }).collect_view()
    };
    view! {
        <div>
            <h3 class="field-label">"How the first texts come out"</h3>
            <ol class="text-samples" aria-label="First texts">
                {texts}
            </ol>
        </div>
    }
    .into_any()
}

fn placeholder(name: &str) -> String {
    format!("{{{name}}}")
}

/// `insert` in the place of what is selected, and where the cursor then stands. Browsers count UTF-16 units.
fn replaced(words: &str, start: usize, end: usize, insert: &str) -> (String, u32) {
    let units: Vec<u16> = words.encode_utf16().collect();
    let (start, end) = (start.min(units.len()), end.clamp(start.min(units.len()), units.len()));
    let joined: Vec<u16> =
        units[..start].iter().copied().chain(insert.encode_utf16()).chain(units[end..].iter().copied()).collect();
    let cursor = start + insert.encode_utf16().count();
    (String::from_utf16_lossy(&joined), cursor as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_put_where_the_cursor_is() {
        assert_eq!(replaced("a b", 1, 2, "{x}"), ("a{x}b".to_string(), 4));
        assert_eq!(replaced("😀!", 2, 2, "{x}"), ("😀{x}!".to_string(), 5));
        assert_eq!(replaced("", 9, 3, "{x}"), ("{x}".to_string(), 3));
    }
}
