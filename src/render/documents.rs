//! From a decision, or from the lack of one, to the three documents.

use serde::Serialize;

use super::{
    Documents, Problem, RenderError, ReportContext, ReportInput,
    budget::{self, Budget, Detail},
    templates::Templates,
    view::{self, Pictures},
};

/// Renders the comment, the job summary and the HTML report of a decision.
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
    let view = view::report(input, &Detail::FULL, Pictures::Charts);
    Ok(Documents {
        comment: fitted("comment", budget::COMMENT)?,
        summary: fitted("summary", budget::SUMMARY)?,
        report_html: Templates::html()?.render("report", &view)?,
    })
}

/// Renders the same documents for a measurement that could not be made (verdict `error`).
///
/// # Errors
/// A fault in kitt's own templates.
pub fn failure(context: &ReportContext, problem: &Problem<'_>) -> Result<Documents, RenderError> {
    let view = view::failure(context, problem);
    let markdown = Templates::markdown()?;
    Ok(Documents {
        comment: markdown.render(
            "failure",
            &Marked {
                view: &view,
                marked: true,
            },
        )?,
        summary: markdown.render(
            "failure",
            &Marked {
                view: &view,
                marked: false,
            },
        )?,
        report_html: Templates::html()?.render("failure", &view)?,
    })
}

/// A view, and whether it is found again by its marker.
#[derive(Serialize)]
struct Marked<'a, V> {
    #[serde(flatten)]
    view: &'a V,
    marked: bool,
}
