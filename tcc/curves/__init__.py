"""From records to RD points and curves, and from curves to BD-rate verdicts.

points             trial records → RD curves, one a family, pair, data set, rate source and seed
front              one curve cleaned and reduced to its Pareto front
bdrate             two curves → a BD-rate verdict
resampling         the BD-rates of one pair of curves in many resamples at once
images             the images of a comparison drawn anew → intervals of its verdicts
seeds              the verdicts of several seeds → their mean, interval and verdict
comparisons        all curves of a study → one verdict row a comparison
gaps               what a verdict lacks → λ to add
side_information   what conditioning on the base saves the enhancement
reading            RD files in CompressAI's JSON or CSV
claims             a table of published curves → a finding on each claim
files              the verdict on two of them; verdicts and curves as JSON or text
"""
