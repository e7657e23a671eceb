use super::destination::Destination;
use super::labels::Labels;
use super::reading::{HowItIsRead, ReadOtherwise};
use super::rows::{FirstRows, Trouble};
use super::text::TextAndLabel;
use crate::api::datasets::list_datasets;
use crate::api::import_form::ImportForm;
use crate::api::uploads::{ImportUpload, preview_upload};
use crate::components::{Button, ButtonLink, Card, ErrorNotice, Loading};
use crate::error::ApiError;
use domain::dataset::DatasetSummary;
use domain::reading::{ReadWish, UploadPreview};
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use std::time::Duration;

/// After the last key in a field that is typed into, before the file is read again.
const TYPING_PAUSE: Duration = Duration::from_millis(350);

/// The second step as it stands: the file as it was read last, and what the person has chosen.
#[derive(Clone, Copy)]
pub struct Draft {
    pub preview: RwSignal<UploadPreview>,
    pub form: RwSignal<ImportForm>,
    reread: Action<ReadWish, Result<UploadPreview, ApiError>>,
    go: StoredValue<Go>,
    /// Waits for the person to stop typing.
    typing: StoredValue<Option<TimeoutHandle>>,
}

/// Changes the address of the page.
type Go = Box<dyn Fn(&str) + Send + Sync>;

impl Draft {
    /// Changes how the file is read, and reads it again. The choice stands in the address, so that a reload keeps it.
    pub fn choose(self, field: &'static str, words: String) {
        self.form.update(|form| form.choose(field, words));
        self.read_again();
    }

    /// As [`Draft::choose`], for a field that is typed into.
    pub fn type_in(self, field: &'static str, words: String) {
        self.form.update(|form| form.choose(field, words));
        self.typing.update_value(|typing| {
            if let Some(earlier) = typing.take() {
                earlier.clear();
            }
            *typing = set_timeout_with_handle(move || self.read_again(), TYPING_PAUSE).ok();
        });
    }

    fn read_again(self) {
        let (address, wish) = self.form.with_untracked(|form| (form.address(), form.wish()));
        self.go.with_value(|go| go(&address));
        self.reread.dispatch(wish);
    }

    /// Reads the file as it was detected.
    fn start_over(self) {
        self.form.update(|form| *form = ImportForm::of(form.get("upload")));
        self.read_again();
    }

    /// Whether what is shown is what was chosen last.
    pub fn is_read(self) -> bool {
        matches!(self.reread.value().get(), Some(Ok(_)))
    }

    /// Why the last choice could not be read; what is shown is the reading before.
    pub fn refused(self) -> Option<ApiError> {
        self.reread.value().get().and_then(Result::err)
    }
}

/// The second step: what the file holds as it was understood, and a form to correct and confirm that.
#[component]
pub fn Confirm(upload: String) -> impl IntoView {
    let query = use_query_map();
    let form = query.with_untracked(|query| ImportForm::from_lookup(|field| query.get(field)));
    let wish = form.wish();
    let first = Resource::new_blocking(
        move || upload.clone(),
        move |upload| {
            let wish = wish.clone();
            async move { (preview_upload(upload, wish).await, list_datasets().await) }
        },
    );
    view! {
        <Suspense fallback=|| view! { <Loading what="the preview" /> }>
            {move || {
                let form = form.clone();
                Suspend::new(async move {
                    match first.await {
                        (Ok(preview), datasets) => {
                            view! { <ConfirmForm first=preview form datasets=datasets.unwrap_or_default() /> }.into_any()
                        }
                        (Err(error), _) => view! { <NoPreview error form /> }.into_any(),
                    }
                })
            }}
        </Suspense>
    }
    .into_any()
}

#[component]
fn NoPreview(error: ApiError, form: ImportForm) -> impl IntoView {
    let detected = ImportForm::of(form.get("upload"));
    let has_choices = form != detected;
    let address = detected.address();
    view! {
        <ErrorNotice error>
            // Another page of the server's: the same component, asked anew.
            {has_choices
                .then(|| {
                    view! {
                        <a class="button" href=address rel="external">
                            "Read it as detected"
                        </a>
                    }
                })}
            <ButtonLink href="/datasets/new">"Upload another file"</ButtonLink>
        </ErrorNotice>
        <Card title="Read it in another way">
            <ReadOtherwise form />
        </Card>
    }
    .into_any()
}

#[component]
fn ConfirmForm(first: UploadPreview, form: ImportForm, datasets: Vec<DatasetSummary>) -> impl IntoView {
    let navigate = use_navigate();
    let upload = first.upload.clone();
    let reread = {
        let upload = upload.clone();
        Action::new(move |wish: &ReadWish| preview_upload(upload.clone(), wish.clone()))
    };
    let go: Go = Box::new(move |address| {
        navigate(address, NavigateOptions { replace: true, scroll: false, ..Default::default() });
    });
    let draft = Draft {
        preview: RwSignal::new(first),
        form: RwSignal::new(form),
        reread,
        go: StoredValue::new(go),
        typing: StoredValue::new(None),
    };
    Effect::new(move |_| {
        if let Some(Ok(preview)) = reread.value().get() {
            draft.preview.set(preview);
        }
    });
    let is_scripted = RwSignal::new(false);
    Effect::new(move |_| is_scripted.set(true));
    let import = ServerAction::<ImportUpload>::new();
    view! {
        <ActionForm action=import attr:class="stack-loose confirm">
            <input type="hidden" name="form[upload]" value=upload.clone() />
            <HowItIsRead draft is_scripted />
            {move || {
                draft
                    .refused()
                    .map(|error| {
                        view! {
                            <ErrorNotice error>
                                <Button on:click=move |_| draft.start_over()>"Read it as detected"</Button>
                            </ErrorNotice>
                        }
                    })
            }}
            <div class="stack-loose" class:is-stale=reread.pending()>
                <TextAndLabel draft />
                <FirstRows preview=draft.preview />
                <Labels draft />
                <Trouble preview=draft.preview />
            </div>
            <Destination draft datasets import is_scripted />
        </ActionForm>
    }
    .into_any()
}
