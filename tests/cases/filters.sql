# Filters, each with the condition it becomes. Parameters stand here as the values they carry.
# A pair is two statements; a comment above it says what it shows. The only series known here is `odd.min`.

# A metric's latest value is meant when no statistic follows.
metrics.loss < 0.1;
metric_0.last < 0.1;

# Larger than a number: engines sort NaN above all numbers, and it is larger than none.
metrics.loss > 0.1;
(metric_0.last > 0.1 AND NOT ISNAN(metric_0.last));

metrics.loss >= 1e-3;
(metric_0.last >= 0.001 AND NOT ISNAN(metric_0.last));

# Extremes and counts are never NaN.
metrics.loss.max > 2 AND metrics.loss.count >= 10;
metric_0.max > 2.0 AND metric_0.count >= 10.0;

# One join serves a metric's statistics.
metric.loss.first != 2 OR metrics.loss.mean = -1;
metric_0.first <> 2.0 OR metric_0.mean = -1.0;

# Inside back-ticks all is the key, and a statistic may follow.
metrics.`val/loss` <= .5 AND metrics.`val/loss`.min <= 0.5;
metric_0.last <= 0.5 AND metric_0.min <= 0.5;

metrics.`loss.min` < 1;
metric_0.last < 1.0;

# Without back-ticks a metric called so goes before a statistic.
metrics.odd.min < 1;
metric_0.last < 1.0;

metrics.even.min < 1;
metric_0.min < 1.0;

metrics."my key" = 3;
metric_0.last = 3.0;

# MLflow's other spellings of the namespaces.
parameter.a = 'x' AND parameters.b = 'x' AND param.c = 'x' AND tag.d = 'x' AND attr.status = 'FAILED' AND run.status = 'FAILED' AND attribute.status = 'FAILED';
param_0.value = 'x' AND param_1.value = 'x' AND param_2.value = 'x' AND tag_3.value = 'x' AND runs.status = 'FAILED' AND runs.status = 'FAILED' AND runs.status = 'FAILED';

# Both quotes make texts, and a doubled quote is one.
params.lr = "0.01" AND params.name = 'it''s "good"' AND tags.t = "say ""hi""";
param_0.value = '0.01' AND param_1.value = 'it''s "good"' AND tag_2.value = 'say "hi"';

# A backslash is a backslash.
params.path = 'C:\temp\n';
param_0.value = 'C:\temp\n';

# Compared with a number, a param is its number.
params.lr < 0.01 AND params.lr = '1e-3';
param_0.value_number < 0.01 AND param_0.value = '1e-3';

params.lr > 0.01;
(param_0.value_number > 0.01 AND NOT ISNAN(param_0.value_number));

tags.size >= 3;
(TRY_CAST(tag_0.value AS DOUBLE) >= 3.0 AND NOT ISNAN(TRY_CAST(tag_0.value AS DOUBLE)));

# Dots in a key need no back-ticks.
tags.mlflow.user = 'ana' AND tags.`mlflow.user` LIKE 'a%' AND tags.a.b.c.d.e = 'x';
tag_0.value = 'ana' AND tag_0.value LIKE 'a%' AND tag_1.value = 'x';

params.x ILIKE 'A%' AND NOT params.x LIKE 'b_';
param_0.value ILIKE 'A%' AND NOT (param_0.value LIKE 'b_');

params.x NOT LIKE 'b%';
NOT (param_0.value LIKE 'b%');

params.x IN ('a', 'b') AND params.y NOT IN ("c") AND metrics.z IN (1, 2);
param_0.value IN ('a', 'b') AND NOT (param_1.value IN ('c')) AND metric_2.last IN (1.0, 2.0);

params.lr IN (0.1, 0.01);
param_0.value_number IN (0.1, 0.01);

params.x IS NULL AND tags.y IS NOT NULL AND metrics.z IS NULL AND attributes.end_time IS NULL;
param_0.value IS NULL AND NOT (tag_1.value IS NULL) AND metric_2.last IS NULL AND runs.ended_at IS NULL;

metrics.loss BETWEEN 0 AND 1 AND metrics.loss.min NOT BETWEEN 2 AND 3;
((metric_0.last >= 0.0 AND NOT ISNAN(metric_0.last)) AND metric_0.last <= 1.0) AND NOT ((metric_0.min >= 2.0 AND metric_0.min <= 3.0));

# OR, NOT and parentheses keep their meaning.
metrics.a < 1 AND (params.b = 'x' OR NOT tags.c = 'y') OR status = 'FINISHED';
metric_0.last < 1.0 AND (param_1.value = 'x' OR NOT (tag_2.value = 'y')) OR runs.status = 'FINISHED';

# A number on the left is as good.
0.1 < metrics.loss AND 'x' = params.a;
(metric_0.last > 0.1 AND NOT ISNAN(metric_0.last)) AND param_1.value = 'x';

# Attributes, bare and with MLflow's other spellings.
run_id IN ('a', 'b') AND attributes.`Run name` = 'n' AND run_name != 'm' AND user_id = 'ana';
runs.run_id IN ('a', 'b') AND runs.run_name = 'n' AND runs.run_name <> 'm' AND runs.user_id = 'ana';

artifact_uri LIKE 'runs:/%';
'runs:/' || runs.run_id LIKE 'runs:/%';

experiment_name = 'resnet' AND parent_run_id = 'p' AND duration_s > 60 AND attempt >= 1;
runs.experiment_name = 'resnet' AND runs.parent_run_id = 'p' AND runs.duration_s > 60.0 AND runs.attempt >= 1.0;

# A whole number of milliseconds stands for all the microseconds in it.
start_time > 1000 AND created <= 1000;
runs.started_at >= '1970-01-01T00:00:01.001000+00:00' AND runs.started_at < '1970-01-01T00:00:01.001000+00:00';

start_time >= 1000 AND end_time < 1000;
runs.started_at >= '1970-01-01T00:00:01+00:00' AND runs.ended_at < '1970-01-01T00:00:01+00:00';

start_time = 1000;
(runs.started_at >= '1970-01-01T00:00:01+00:00' AND runs.started_at < '1970-01-01T00:00:01.001000+00:00');

start_time != 1000;
(runs.started_at < '1970-01-01T00:00:01+00:00' OR runs.started_at >= '1970-01-01T00:00:01.001000+00:00');

start_time BETWEEN 1000 AND 1000;
(runs.started_at >= '1970-01-01T00:00:01+00:00' AND runs.started_at < '1970-01-01T00:00:01.001000+00:00');

start_time > 999.5;
runs.started_at >= '1970-01-01T00:00:01+00:00';

start_time >= '2026-03-01' AND end_time < '2026-03-01T12:00:00+02:00';
runs.started_at >= '2026-03-01T00:00:00+00:00' AND runs.ended_at < '2026-03-01T12:00:00+02:00';

# Datasets: any of a run's.
datasets.name = 'yelp' AND dataset.digest LIKE 'a%' AND NOT (datasets.context IN ('eval', 'test'));
runs.run_id IN (SELECT run_id FROM inputs WHERE name = 'yelp') AND runs.run_id IN (SELECT run_id FROM inputs WHERE digest LIKE 'a%') AND NOT (((runs.run_id IN (SELECT run_id FROM inputs WHERE context = 'eval') OR runs.run_id IN (SELECT run_id FROM inputs WHERE context = 'test'))));

# As in MLflow, NOT IN asks for one dataset that is none of these.
datasets.context NOT IN ('eval', 'test');
runs.run_id IN (SELECT run_id FROM inputs WHERE context <> 'eval' AND context <> 'test');

datasets.context IS NULL;
NOT runs.run_id IN (SELECT run_id FROM inputs WHERE NOT context IS NULL);

# Two names of a run. NaN is equal to nothing and larger than nothing; a run that lacks one of them doesn't match.
metrics.a.max < metrics.a.count;
metric_0.max < metric_0.count;

metrics.a >= metrics.b.min;
CASE WHEN metric_0.last IS NULL OR metric_1.min IS NULL THEN NULL WHEN ISNAN(metric_0.last) THEN FALSE ELSE metric_0.last >= metric_1.min END;

metrics.a != params.b;
CASE WHEN metric_0.last IS NULL OR param_1.value_number IS NULL THEN NULL WHEN ISNAN(metric_0.last) OR ISNAN(param_1.value_number) THEN TRUE ELSE metric_0.last <> param_1.value_number END;

# Params and tags are texts for = and !=, numbers for the others.
params.a = tags.b AND params.a != params.c AND run_name = tags.b;
param_0.value = tag_1.value AND param_0.value <> param_2.value AND runs.run_name = tag_1.value;

params.a < params.b;
CASE WHEN param_0.value_number IS NULL OR param_1.value_number IS NULL THEN NULL WHEN ISNAN(param_0.value_number) OR ISNAN(param_1.value_number) THEN FALSE ELSE param_0.value_number < param_1.value_number END;

end_time > start_time;
runs.ended_at > runs.started_at;

# A param or tag as a number, whatever it is compared with.
number(params.lr) IN (0.1, 1) AND number(tags.n) IS NULL;
param_0.value_number IN (0.1, 1.0) AND TRY_CAST(tag_1.value AS DOUBLE) IS NULL;

# The value at a step has a join of its own.
metrics.a.at_step(100) < metrics.a.first AND metrics.`b c`.at_step(-1) > 0.5;
CASE WHEN metric_0.at_step IS NULL OR metric_1.first IS NULL THEN NULL WHEN ISNAN(metric_0.at_step) OR ISNAN(metric_1.first) THEN FALSE ELSE metric_0.at_step < metric_1.first END AND (metric_2.at_step > 0.5 AND NOT ISNAN(metric_2.at_step));

metrics.a.at_step(1) BETWEEN 0 AND 1 OR metrics.a.AT_STEP(2) IN (1, 2);
((metric_0.at_step >= 0.0 AND NOT ISNAN(metric_0.at_step)) AND metric_0.at_step <= 1.0) OR metric_1.at_step IN (1.0, 2.0);

# Keys may begin with a digit.
metrics.1st < 1e3 AND params.2nd.try = 'x' AND metrics.0.5 > 5;
metric_0.last < 1000.0 AND param_1.value = 'x' AND (metric_2.last > 5.0 AND NOT ISNAN(metric_2.last));

# Words of SQL are names where names stand.
tags.select = 'x' AND tags.not = 'y' AND tags.and = 'z' AND NOT metrics.or < 1 AND params.like LIKE 'like';
tag_0.value = 'x' AND tag_1.value = 'y' AND tag_2.value = 'z' AND NOT (metric_3.last < 1.0) AND param_4.value LIKE 'like';

params.order = 'x' AND params.if = 'y' AND tags.case = 'z' AND metrics.min < 1 AND metrics.count.max < 2;
param_0.value = 'x' AND param_1.value = 'y' AND tag_2.value = 'z' AND metric_3.last < 1.0 AND metric_4.max < 2.0;
