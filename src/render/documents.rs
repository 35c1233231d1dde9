//! From a decision, or from the lack of one, to the documents.

use serde::Serialize;

use super::{
    Documents, Form, Leg, Posted, Problem, RenderError, ReportContext, ReportInput, State, Weight,
    budget::{self, Budget, Detail},
    sections::compose,
    templates::Templates,
    view::{self, Pictures},
};

/// Renders the comment, the job summary, the check run's summary and the HTML report of a
/// decision.
///
/// # Errors
/// A fault in kitt's own templates.
pub fn render(input: &ReportInput<'_>) -> Result<Documents, RenderError> {
    let markdown = Templates::markdown()?;
    let fitted = |id: &'static str, limit: Budget| {
        budget::fit(limit, &budget::ladder(), |detail| {
            markdown.render(id, &view::report(input, detail, Pictures::None))
        })
    };
    let state = view::state(input);
    let form = if input.context.section.is_some() {
        legs(input, state.clone())?
    } else {
        Form::Whole {
            body: fitted("comment", budget::COMMENT)?,
            state: Box::new(state.clone()),
        }
    };
    let view = view::report(input, &Detail::FULL, Pictures::Charts);
    let beside = Documents {
        comment: String::new(),
        summary: fitted("summary", budget::SUMMARY)?,
        check_summary: fitted("summary", budget::CHECK)?,
        report_html: Templates::html()?.render("report", &view)?,
        title: view.title.plain(),
        badge: view::badge(input),
        posted: posted(input.context, &state, form),
    };
    with_comment(beside)
}

fn posted(context: &ReportContext, state: &State, form: Form) -> Posted {
    Posted {
        key: context.key.clone().unwrap_or_default(),
        weight: Weight::of(state),
        form,
    }
}

/// The comment is what would be posted if there were none yet.
fn with_comment(documents: Documents) -> Result<Documents, RenderError> {
    let posted = &documents.posted;
    let comment = match &posted.form {
        Form::Whole { body, .. } => body.clone(),
        Form::Legs { own, .. } => compose(&posted.key, own.clone())?.body,
    };
    Ok(Documents {
        comment,
        ..documents
    })
}

/// One size of the comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Its text.
    pub text: String,
    /// UTF-16 units in it.
    pub units: usize,
}

/// Every size of the comment, the largest first: what its budget chooses from.
///
/// # Errors
/// A fault in kitt's own templates.
pub fn rungs(input: &ReportInput<'_>) -> Result<Vec<Rung>, RenderError> {
    let id = if input.context.section.is_some() {
        "inner"
    } else {
        "comment"
    };
    let markdown = Templates::markdown()?;
    let nested = input.context.section.is_some();
    let rung = |detail: Detail| {
        let detail = Detail { nested, ..detail };
        let text = markdown.render(id, &view::report(input, &detail, Pictures::None))?;
        let units = text.encode_utf16().count();
        Ok(Rung { text, units })
    };
    budget::ladder().into_iter().map(rung).collect()
}

/// This job's section.
fn legs(input: &ReportInput<'_>, state: State) -> Result<Form, RenderError> {
    let rungs = rungs(input)?.into_iter();
    let texts = rungs.map(|rung| rung.text.trim().to_owned()).collect();
    let own = Leg::new(state, texts).into_iter().collect();
    Ok(Form::Legs { own, all: false })
}

/// Renders the same documents for a measurement that could not be made (verdict `error`).
///
/// # Errors
/// A fault in kitt's own templates.
pub fn failure(context: &ReportContext, problem: &Problem<'_>) -> Result<Documents, RenderError> {
    let nested = context.section.is_some();
    let view = view::failure(context, problem, nested);
    let plain = view::failure(context, problem, false);
    let markdown = Templates::markdown()?;
    let of = |view, marked| markdown.render("failure", &Marked { view, marked });
    let state = view::error_state(context);
    let form = if nested {
        let text = of(&view, false)?.trim().to_owned();
        let own = Leg::new(state.clone(), vec![text]).into_iter().collect();
        Form::Legs { own, all: false }
    } else {
        Form::Whole {
            body: of(&plain, true)?,
            state: Box::new(state.clone()),
        }
    };
    let summary = of(&plain, false)?;
    with_comment(Documents {
        comment: String::new(),
        check_summary: summary.clone(),
        summary,
        report_html: Templates::html()?.render("failure", &plain)?,
        title: plain.title.plain(),
        badge: view::failed_badge(context, problem),
        posted: posted(context, &state, form),
    })
}

/// A view, and whether it is found again by its marker.
#[derive(Serialize)]
struct Marked<'a, V> {
    #[serde(flatten)]
    view: &'a V,
    marked: bool,
}
