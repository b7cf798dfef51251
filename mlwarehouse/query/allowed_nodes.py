"""The parts that strangers' SQL may consist of, as sqlglot's nodes. What isn't here is refused.

Functions stand here, too, where sqlglot has a node of their own; all others go by `allowed_sql.FUNCTIONS`.
"""

from __future__ import annotations

from sqlglot import exp

STRUCTURE: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Alias, exp.Aliases, exp.Column, exp.Identifier, exp.Star, exp.Var, exp.Tuple, exp.Paren, exp.Dot,
        exp.Select, exp.Subquery, exp.Union, exp.Intersect, exp.Except, exp.Values, exp.From, exp.Where, exp.Group,
        exp.GroupingSets, exp.Cube, exp.Rollup, exp.Having, exp.Qualify, exp.Distinct, exp.Order, exp.Ordered,
        exp.Limit, exp.LimitOptions, exp.Offset, exp.With, exp.CTE, exp.TableAlias, exp.Table, exp.Join, exp.Lateral,
        exp.Unnest, exp.Window, exp.WindowSpec, exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.WithinGroup,
    }
)  # fmt: skip

VALUES: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Literal, exp.RawString, exp.Boolean, exp.Null, exp.Placeholder, exp.DataType, exp.DataTypeParam,
        exp.Interval, exp.Array, exp.Struct, exp.PropertyEQ, exp.ToMap, exp.Map, exp.Bracket, exp.Slice, exp.Lambda,
        exp.Comprehension, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript,
        exp.JSONPathWildcard, exp.IntervalSpan,
    }
)  # fmt: skip

OPERATORS: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.And, exp.Or, exp.Not, exp.Xor, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.In,
        exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Glob, exp.SimilarTo, exp.RegexpLike, exp.RegexpFullMatch,
        exp.NullSafeEQ, exp.NullSafeNEQ, exp.Exists, exp.Any, exp.All, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv,
        exp.Mod, exp.Pow, exp.Neg, exp.DPipe, exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseNot, exp.BitwiseLeftShift,
        exp.BitwiseRightShift, exp.StartsWith, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.Try, exp.AtTimeZone,
        exp.ArrayContainsAll, exp.ArrayOverlaps, exp.JSONExtract, exp.JSONExtractScalar,
    }
)  # fmt: skip

FUNCTIONS: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Abs, exp.Acos, exp.AnyValue, exp.ApproxDistinct, exp.ApproxQuantile, exp.ArgMax, exp.ArgMin,
        exp.ArrayAgg, exp.ArrayConcat, exp.ArrayContains, exp.ArrayDistinct, exp.ArrayFilter, exp.ArrayMax,
        exp.ArrayMin, exp.ArraySize, exp.ArraySlice, exp.ArraySort, exp.ArrayToString, exp.Ascii, exp.Asin,
        exp.Atan, exp.Atan2, exp.Avg, exp.BitwiseAndAgg, exp.BitwiseOrAgg, exp.BitwiseXorAgg, exp.Cbrt,
        exp.Ceil, exp.Chr, exp.Coalesce, exp.Concat, exp.ConcatWs, exp.Contains, exp.Corr, exp.Cos, exp.Count,
        exp.CountIf, exp.CovarPop, exp.CovarSamp, exp.CumeDist, exp.CurrentDate, exp.CurrentTimestamp,
        exp.DateAdd, exp.DateBin, exp.DateDiff, exp.DateFromParts, exp.Day, exp.DayOfMonth, exp.DayOfWeek,
        exp.DayOfWeekIso, exp.DayOfYear, exp.Dayname, exp.Degrees, exp.DenseRank, exp.EndsWith, exp.Exp,
        exp.Explode, exp.Extract, exp.Factorial, exp.First, exp.FirstValue, exp.Flatten, exp.Floor, exp.Format,
        exp.GenerateSeries, exp.Greatest, exp.GroupConcat, exp.Hour, exp.IsInf, exp.IsNan, exp.JSONKeys,
        exp.JSONType, exp.JarowinklerSimilarity, exp.Kurtosis, exp.Lag, exp.Last, exp.LastDay, exp.LastValue,
        exp.Lead, exp.Least, exp.Left, exp.Length, exp.Levenshtein, exp.Ln, exp.Log, exp.LogicalAnd,
        exp.LogicalOr, exp.Lower, exp.MD5, exp.MapFromEntries, exp.MapKeys, exp.Max, exp.Median, exp.Min,
        exp.Minute, exp.Mode, exp.Month, exp.Monthname, exp.NthValue, exp.Ntile, exp.Nullif, exp.Pad,
        exp.PercentRank, exp.PercentileCont, exp.PercentileDisc, exp.Pi, exp.Quantile, exp.Quarter, exp.Radians,
        exp.Rand, exp.Rank, exp.RegexpExtract, exp.RegexpExtractAll, exp.RegexpReplace, exp.RegrIntercept, exp.RegrR2,
        exp.RegrSlope, exp.Repeat, exp.Replace, exp.Reverse, exp.Right, exp.Round, exp.RowNumber, exp.SHA2,
        exp.Second, exp.Sign, exp.Sin, exp.Skewness, exp.Split, exp.SplitPart, exp.Sqrt, exp.Stddev,
        exp.StddevPop, exp.StddevSamp, exp.StrPosition, exp.StrToTime, exp.StructExtract, exp.Substring,
        exp.Sum, exp.Tan, exp.TimeToStr, exp.TimeToUnix, exp.TimestampFromParts, exp.TimestampTrunc, exp.ToDays,
        exp.Transform, exp.Trim, exp.Trunc, exp.Typeof, exp.Unicode, exp.UnixToTime, exp.Upper, exp.Variance,
        exp.VariancePop, exp.Week, exp.WeekOfYear, exp.Year,
    }
)  # fmt: skip

NODES = STRUCTURE | VALUES | OPERATORS | FUNCTIONS
