"""What the bridges to frameworks (`kissvdb.langchain` and others) have in common."""
