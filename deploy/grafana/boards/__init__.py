"""The six Grafana dashboards as code: `deploy/grafana/build.py` writes them as JSON.

`queries` has the words of PromQL that every dashboard uses, `panels` the kinds of panel, `frame` what all six share
(variables, deployment marks, links); then one module for each dashboard, which says what it shows.
"""
