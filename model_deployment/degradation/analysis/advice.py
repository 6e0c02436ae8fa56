"""What to do about each kind of finding of an analysis."""

from model_deployment.degradation.analysis.result import DataFinding
from model_deployment.degradation.findings import ADVICE, Finding

_ADVICE = {
    # Of the table.
    "no_rows": "Upload a file with rows.",
    "few_rows": "Collect more rows before a model is trained on them.",
    "same_data": "A training on these data gives about the model that exists. Upload new rows.",
    "few_new_rows": "Most of these rows are known. Check that the export has the period that was meant.",
    "duplicates": "Remove repeated rows at the source. A row in the training part and in the test part "
    "makes the test too good.",
    "sampled": "Nothing to do. The number of rows, repeated rows and times are of the whole file.",
    "too_wide": "Give the experiment a table with the columns that it uses.",
    # Of a column.
    "column_gone": "Restore the column in the export, or take it out of the experiment and train on data "
    "without it from now on.",
    "column_new": "Flows leave the column out. To use it, make data that have it the original data of the "
    "experiment; callers of the model then have to send it.",
    "type_changed": "Write the values as in the original data. A decimal comma, a unit in the cell or a "
    "shifted column are the usual causes.",
    "not_numbers": "Correct these cells, or list the texts under missing_values in settings.yaml if they "
    "stand for missing values.",
    "missing_unlisted": "List these texts under missing_values in settings.yaml. Otherwise the column is "
    "read as text, or they become a category of their own.",
    "missing_listed": "Nothing to do: the experiment reads these texts as missing.",
    "missing_rose": "Find out why values are missing. An imputed column carries little information.",
    "column_empty": "Repair the source of this column, or take it out of the experiment.",
    "column_constant": "A model trained on these data cannot use the column. Check for a stuck sensor or a "
    "default value.",
    "one_value": "The column carries little information. Take it out of the experiment unless the rare "
    "values matter.",
    "nearly_constant": "Check that the source of this column still works.",
    "infinite": "Check for a division by zero at the source. scikit-learn refuses infinite values.",
    "identifiers": "Take the column out of the experiment: a model can only learn such values by heart.",
    "new_categories": "Check the spelling. If the values are right, an encoder with "
    'handle_unknown="ignore" or the training on these rows handles them.',
    "gone_categories": "Check that the export is complete. A model trained on these data alone forgets the "
    "values.",
    "out_of_range": "Check the units first. If the values are right, training on these rows extends the "
    "range of the model.",
    "drift": "If the change is right and permanent, train on these data. If not, look for a unit, a join "
    "or a filter that has changed.",
    "moved": "Nothing to do.",
    # Of the target.
    "target_gone": "Restore the column, or correct target in settings.yaml.",
    "target_empty": "Upload rows with known outcomes.",
    "target_missing": "The training leaves these rows out. Check that the outcomes are missing by chance: "
    "rows whose outcome is not known yet often differ from the others.",
    "target_constant": "A model needs at least two outcomes to learn from. Check the filter of the export.",
    "target_not_numbers": "Correct these cells, or set task: classification.",
    "target_not_classes": "Set task: regression, or give classes.",
    "target_drift": "Review thresholds and class weights. Metrics on the new and on the original data are "
    "not comparable as they are.",
    "new_classes": "Check the spelling. The champion never predicts these classes.",
    "gone_classes": "Check the filter of the export. A model trained on these data alone never predicts "
    "these classes.",
    "rare_classes": "Collect more rows of these classes, or join classes.",
    # Of pairs of columns.
    "leak": "Check whether the column is known before the outcome. If not, take it out: the model looks "
    "perfect in the test and fails in use.",
    "relation_changed": "A model that learnt the old relation is wrong now. Check the join of the column, "
    "then train on the new data.",
    "features_alike": "Keep one column of each pair: together they add nothing, and hide which one "
    "matters.",
    "pair_changed": "Check for a join that shifts or shuffles rows.",
    # Of times.
    "no_times": "Restore the column, or correct time_column in settings.yaml.",
    "unreadable_times": "Write times in ISO 8601, such as 2026-11-30 or 2026-11-30T14:00:00Z.",
    "unordered_times": "Nothing to do for a series: rows are put in order before the training. "
    "Check the export if it should be in order.",
    "repeated_times": "Keep one value for each time: add up, average, or choose the last.",
    "uneven_times": "Bring the series to one step (an hour, a day), with one row for each.",
    "short_stretches": "Fill the gaps at the source. If days without a row are no days of the series, such "
    "as weekends, number the rows and use the numbers as times.",
    "gaps": "Fill the gaps at the source, or check that values are zero and not missing there.",
    "frequency_changed": "Bring the data to the frequency of the original data: windows of a model count "
    "steps, not hours.",
    "old_times": "Check that the newest rows are in the export: the data end before the original data do.",
    "hole_between": "Upload the time between as well, together with these rows.",
}


def with_advice(finding: Finding) -> DataFinding:
    return DataFinding(
        finding.severity,
        finding.code,
        finding.column,
        finding.message,
        _ADVICE.get(finding.code) or ADVICE[finding.code],
    )
