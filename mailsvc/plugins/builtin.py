"""The filters that come with the service, a line each."""

from mailsvc.filters.maker import FilterMaker

loops = FilterMaker("loops", "mailsvc.filters.loops")
